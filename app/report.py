"""`report.html`: one self-contained page about a reconstruction, pictures included."""

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from data.files import atomic_write

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.6rem;margin:1rem 0}
.card{border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}.card b{display:block;font-size:1.25rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:.6rem}
.wide{grid-template-columns:repeat(auto-fill,minmax(420px,1fr))}
img{width:100%;border-radius:6px;display:block}figure{margin:0}figcaption{font-size:.85rem;opacity:.75}
table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:left;border-bottom:1px solid var(--line)}
canvas{width:100%;height:420px;border:1px solid var(--line);border-radius:8px;touch-action:none;cursor:grab}
.warning{border-left:4px solid #d90;background:var(--soft);padding:.4rem .8rem;margin:.4rem 0}
"""

_VIEWER = """
(()=>{const D=JSON.parse(document.getElementById('scene').textContent),C=document.getElementById('view'),g=C.getContext('2d');
const P=D.points,Q=D.cameras,all=[...Q.map(c=>[c[0][3],c[1][3],c[2][3]]),...P.map(p=>p.slice(0,3))];
const med=k=>{const v=all.map(p=>p[k]).sort((a,b)=>a-b);return v[v.length>>1]},c=[0,1,2].map(med);
const d=all.map(p=>Math.hypot(p[0]-c[0],p[1]-c[1],p[2]-c[2])).sort((a,b)=>a-b),R=d[Math.floor(d.length*.9)]||1;
let yaw=.6,pitch=.5,zoom=1,drag=null;const u=D.up,f0=Math.abs(u[0])<.9?[1,0,0]:[0,1,0];
const X=(a,b)=>[a[1]*b[2]-a[2]*b[1],a[2]*b[0]-a[0]*b[2],a[0]*b[1]-a[1]*b[0]],N=a=>{const n=Math.hypot(...a)||1;return a.map(v=>v/n)},dot=(a,b)=>a[0]*b[0]+a[1]*b[1]+a[2]*b[2];
const e1=N(X(u,f0)),e2=X(u,e1);
function draw(){const w=C.width=C.clientWidth*devicePixelRatio,h=C.height=C.clientHeight*devicePixelRatio,s=Math.min(w,h)*.42/R*zoom;
const ca=Math.cos(yaw),sa=Math.sin(yaw),cp=Math.cos(pitch),sp=Math.sin(pitch);
const pr=p=>{const q=[p[0]-c[0],p[1]-c[1],p[2]-c[2]],x=dot(q,e1),y=dot(q,e2),z=dot(q,u),a=x*ca-y*sa,b=x*sa+y*ca;return[w/2+a*s,h/2-(z*cp-b*sp)*s]};
g.clearRect(0,0,w,h);for(const p of P){const q=pr(p);g.fillStyle=`rgb(${p[3]},${p[4]},${p[5]})`;g.fillRect(q[0],q[1],2*devicePixelRatio,2*devicePixelRatio)}
g.lineWidth=devicePixelRatio;g.strokeStyle='#e33';for(let i=0;i<Q.length;i++){const m=Q[i],L=R*.08,tx=Math.tan(D.fov[i][0]*Math.PI/360)*L,ty=Math.tan(D.fov[i][1]*Math.PI/360)*L;
const W=v=>[0,1,2].map(k=>m[k][0]*v[0]+m[k][1]*v[1]+m[k][2]*v[2]+m[k][3]),o=pr(W([0,0,0])),k=[[-tx,-ty,L],[tx,-ty,L],[tx,ty,L],[-tx,ty,L]].map(v=>pr(W(v)));
g.beginPath();for(let j=0;j<4;j++){g.moveTo(...o);g.lineTo(...k[j]);g.lineTo(...k[(j+1)%4])}g.stroke()}}
C.onpointerdown=e=>{drag=[e.clientX,e.clientY];C.setPointerCapture(e.pointerId)};C.onpointerup=()=>drag=null;
C.onpointermove=e=>{if(!drag)return;yaw+=(e.clientX-drag[0])*.01;pitch=Math.max(-1.5,Math.min(1.5,pitch+(e.clientY-drag[1])*.01));drag=[e.clientX,e.clientY];draw()};
C.onwheel=e=>{e.preventDefault();zoom*=Math.exp(-e.deltaY*.001);draw()};addEventListener('resize',draw);draw()})();
"""


def write_html(out: Path, report: dict[str, Any]) -> Path:
    """Write ``out/report.html`` from the report and the pictures in ``out``."""
    quality, mesh = report["quality"], report["mesh"]
    cards = [
        ("photos used", f"{report['views']['used']} / {report['views']['given']}"),
        ("time", _duration(report["seconds"]["total"])), ("peak memory", f"{report['peak_memory_mb']} MB"),
        ("faces", f"{mesh['faces']:,}"), ("texture", f"{mesh['texture']}²"),
    ]  # fmt: skip
    if quality["psnr"] is not None:
        cards += [("held-out PSNR", f"{quality['psnr']:.2f} dB"), ("held-out SSIM", f"{quality['ssim']:.3f}")]
    if (shown := quality.get("realtime")) is not None:
        cards.append(("held-out PSNR, real time", f"{shown['psnr']:.2f} dB"))
    if report["poses"]["reprojection_error_px"] is not None:
        cards.append(("reprojection error", f"{report['poses']['reprojection_error_px']:.2f} px"))
    warnings = "".join(f'<p class="warning">{html.escape(w)}</p>' for w in report["warnings"])
    dropped = "".join(f"<tr><td>{html.escape(d['file'])}</td><td>{html.escape(d['why'])}</td></tr>" for d in report["views"]["dropped"])
    inputs = report["pictures"]["inputs"]
    shown = inputs[:: max(len(inputs) // 12, 1)][:12]
    rims = mesh.get("open_rims", [])
    holes = "".join(
        f"<tr><td>{rim['length']:.4g}</td><td>{', '.join(f'{v:.4g}' for v in rim['centre'])}</td></tr>" for rim in rims[:10]
    )  # fmt: skip
    held_out = "".join(
        figure(out / view["picture"], f"{view['file']}: {view['psnr']:.2f} dB (photo, rendering)", 840) for view in quality["held_out"]
    )
    seconds = "".join(f"<tr><td>{html.escape(k)}</td><td>{v:.1f} s</td></tr>" for k, v in report["seconds"].items())
    cameras = report["cameras"]
    scene = {
        "cameras": cameras["camera_to_world"], "fov": cameras["field_of_view"], "up": _up(cameras["camera_to_world"]),
        "points": [[*p, *c] for p, c in zip(report["points"]["xyz"], report["points"]["rgb"], strict=True)],
    }  # fmt: skip
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(report["name"])} - Lumigraph report</title><style>{STYLE}</style>
<h1>{html.escape(report["name"])}</h1><p>{html.escape(report["engine"])} engine, {html.escape(report["quality_preset"])} quality,
on {html.escape(report["device"])}; lumigraph {html.escape(report["lumigraph"])}</p>
<div class="cards">{"".join(f'<div class="card">{html.escape(k)}<b>{html.escape(v)}</b></div>' for k, v in cards)}</div>
{f"<h2>What to know</h2>{warnings}" if warnings else ""}
{f"<h2>Photos left out</h2><table>{dropped}</table>" if dropped else ""}
<h2>The mesh from four sides</h2><div class="grid">{"".join(figure(out / name, "", 480) for name in report["pictures"]["sides"])}</div>
{f"<h2>Open rims of the mesh</h2><p>The longest {len(rims[:10])}: holes where no photo looked, and outer edges.</p><table><tr><th>length</th><th>centre</th></tr>{holes}</table>" if holes else ""}
{f'<h2>Held-out views</h2><div class="grid wide">{held_out}</div>' if held_out else ""}
<h2>Cameras</h2><canvas id="view"></canvas><p>Drag to turn, scroll to zoom. Poses: {html.escape(str(report["poses"]["source"]))}.</p>
<h2>Photos</h2><div class="grid">{"".join(figure(out / name, Path(name).name, 320) for name in shown)}</div>
<h2>Time</h2><table>{seconds}</table>
<script type="application/json" id="scene">{json.dumps(scene).replace("<", "&lt;")}</script><script>{_VIEWER}</script></html>
"""
    path = out / "report.html"
    atomic_write(path, page.encode())
    return path


def figure(path: Path, caption: str, width: int) -> str:
    """An inlined, shrunken picture; nothing if the file is gone."""
    try:
        picture = Image.open(path).convert("RGB")
    except OSError:
        return ""
    picture.thumbnail((width, width))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{html.escape(caption or path.stem)}" src="data:image/jpeg;base64,{data}">{note}</figure>'


def _up(poses: list[list[list[float]]]) -> list[float]:
    """Mean up vector of the pictures, unit length (OpenCV axes: the negative y axis)."""
    up = [-sum(pose[k][1] for pose in poses) / len(poses) for k in range(3)]
    length = sum(v * v for v in up) ** 0.5
    return [v / length for v in up] if length > 1e-6 else [0.0, 0.0, 1.0]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
