"""CUDA C++ compiled at first use by NVRTC, the compiler library that every CUDA build of PyTorch brings along.

Triton has no shuffles between lanes, no shared memory of one's own and no vector atomics; the hash grid's kernels live on
all three. Compiled code is kept in the user's cache folder, so that only the first run on a machine waits for it.
"""

import ctypes
import hashlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

_HERE = Path(__file__).parent


class CompilationError(RuntimeError):
    """The compiler refused a source, or this machine cannot compile or load one."""


class Kernel:
    """One compiled function; call it with a grid, a block and its arguments."""

    def __init__(self, function: ctypes.c_void_p, name: str) -> None:
        self._function, self.name = function, name
        self._shared = 48 * 1024

    def __call__(self, grid: tuple[int, ...], block: int, *arguments: Any, shared: int = 0) -> None:
        """Launch on PyTorch's current stream.

        Args:
            arguments: tensors (passed as pointers), ints (32 bit), floats (32 bit) or ctypes values.
            shared: bytes of dynamic shared memory.
        """
        if shared > self._shared:
            _check(_driver().cuFuncSetAttribute(self._function, 8, shared), f"{self.name} cannot have {shared} bytes of shared memory")
            self._shared = shared
        values = [_value(a) for a in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.cast(ctypes.byref(v), ctypes.c_void_p) for v in values))
        x, y, z = (*grid, 1, 1)[:3]
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        status = _driver().cuLaunchKernel(self._function, x, y, z, block, 1, 1, shared, stream, pointers, None)
        _check(status, f"{self.name} could not be launched with grid {grid}, block {block}")


def kernel(source: Path, name: str, defines: Mapping[str, int] | None = None) -> Kernel:
    """The function ``name`` of a source file, compiled for the current GPU with ``-DKEY=VALUE`` for each of ``defines``.

    Raises:
        CompilationError: NVRTC is missing, or refuses the source.
    """
    return _kernel(source, name, tuple(sorted((k, int(v)) for k, v in (defines or {}).items())), torch.cuda.current_device())


@lru_cache(maxsize=512)
def _kernel(source: Path, name: str, defines: tuple[tuple[str, int], ...], device: int) -> Kernel:
    function = ctypes.c_void_p()
    module = _module(source, defines, device)
    _check(_driver().cuModuleGetFunction(ctypes.byref(function), module, name.encode()), f"{source.name} has no function {name}")
    return Kernel(function, name)


@lru_cache(maxsize=256)
def _module(source: Path, defines: tuple[tuple[str, int], ...], device: int) -> ctypes.c_void_p:
    torch.cuda.synchronize(device)  # makes PyTorch's context the current one
    major, minor = torch.cuda.get_device_capability(device)
    architecture = f"sm_{major}{minor}{'a' if major == 9 else ''}"
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--use_fast_math", "-lineinfo", *(f"-D{k}={v}" for k, v in defines)]
    module = ctypes.c_void_p()
    binary = _binary((_HERE / "prelude.cuh").read_text() + source.read_text(), source.name, options)
    _check(_driver().cuModuleLoadData(ctypes.byref(module), binary), f"{source.name} could not be loaded")
    return module


def _binary(text: str, name: str, options: Sequence[str]) -> bytes:
    """Machine code of a source, from the cache or from the compiler."""
    library = _nvrtc()
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    key = hashlib.sha256("\0".join([text, *options, f"{major.value}.{minor.value}"]).encode()).hexdigest()[:32]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lumigraph" / "kernels"
    cached = folder / f"{Path(name).stem}-{key}.cubin"
    try:
        return cached.read_bytes()
    except OSError:
        pass
    binary = _compile(library, text, name, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}.part")
        partial.write_bytes(binary)
        partial.replace(cached)
    except OSError:
        pass  # a read-only home only costs the compilation
    return binary


def _compile(library: ctypes.CDLL, text: str, name: str, options: Sequence[str]) -> bytes:
    program = ctypes.c_void_p()
    if library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None):
        raise CompilationError(f"NVRTC could not take {name}.")
    try:
        array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = library.nvrtcCompileProgram(program, len(options), array)
        size = ctypes.c_size_t()
        if failed:
            library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            library.nvrtcGetProgramLog(program, log)
            raise CompilationError(f"{name} does not compile with {' '.join(options)}:\n{log.value.decode(errors='replace')}")
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        binary = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, binary)
        return binary.raw
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def can_compile() -> bool:
    """Whether there are a GPU and a compiler for it."""
    if not torch.cuda.is_available():
        return False
    try:
        _nvrtc()
        _driver()
    except CompilationError:
        return False
    return True


def multiprocessors() -> int:
    """Streaming multiprocessors of the current GPU."""
    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count)


@lru_cache(maxsize=1)
def _nvrtc() -> ctypes.CDLL:
    major = (torch.version.cuda or "12").split(".")[0]
    names = [f"libnvrtc.so.{major}"]
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations or [] if package else []:
        names += [str(p) for p in sorted(Path(folder).glob(f"**/libnvrtc.so.{major}*"))]
    names += [str(p) for p in sorted(Path("/usr/local").glob(f"cuda*/lib64/libnvrtc.so.{major}*"))]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CompilationError(f"libnvrtc.so.{major} was not found. It comes with PyTorch's CUDA build (package nvidia-cuda-nvrtc); install that.")


@lru_cache(maxsize=1)
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise CompilationError("libcuda.so.1 was not found: there is no NVIDIA driver.") from None


def _check(status: int, what: str) -> None:
    if status:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(status, ctypes.byref(text))
        raise CompilationError(f"{what}: {(text.value or b'unknown error').decode()}.")


def _value(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, bool | int):
        return ctypes.c_int(argument)
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return ctypes.c_void_p(None) if argument is None else argument
