"""How a world is laid out in memory: float32 tables, one row block per world, so that one kernel renders thousands.

Numbers below are columns. The tables are plain arrays because the renderer runs, from one source, on CPU threads and on
the GPU, where there are no objects.
"""

HEADER, OBJECT, PRIMITIVE, MATERIAL, CAMERA = 56, 8, 32, 32, 17
"""Row lengths of the five tables."""

MAX_OBJECTS, MAX_PRIMITIVES, MAX_MATERIALS = 20, 72, 24

# Header: one row a world.
OBJECT_COUNT = 0
SURROUNDINGS = 1
NOTHING, FLAT_GROUND, BUMPY_GROUND, ROOM = 0, 1, 2, 3
ROOM_HALF = 2  # 3 columns: half width, half depth, half height
ROOM_X, ROOM_Y, FLOOR_Z = 5, 6, 7
BUMP_HEIGHT, BUMP_FREQUENCY = 8, 9
AMBIENT = 10  # 3 columns
LIGHT_COUNT = 13
LIGHTS = 14  # 2 blocks of 10: kind (0 sun, 1 lamp), direction or position, colour, shadow strength, shadow sharpness, -
LIGHT_STRIDE = 10
SKY_LOW, SKY_HIGH = 34, 37
SKY_KIND, SKY_FREQUENCY, SKY_SEED = 40, 41, 42
FLOOR_MATERIAL, WALL_MATERIAL, CEILING_MATERIAL = 43, 44, 45
STEP, REACH = 46, 47
OCCLUSION, OCCLUSION_RADIUS = 48, 49
EXPOSURE, GAMMA = 50, 51

# Objects: primitives that are combined with one another, inside a sphere that lets distant rays skip them all.
FIRST, COUNT = 0, 1
SPHERE = 2  # centre, radius

# Primitives.
SHAPE = 0
ELLIPSOID, BOX, TORUS, CYLINDER, CAPSULE, CONE, FRAME, OCTAHEDRON, PRISM = range(9)
OPERATION = 1
UNION, SMOOTH_UNION, SUBTRACT, HOLLOW, INTERSECT = range(5)
BLEND = 2  # radius of a smooth union, wall of a hollow
PAINT = 3  # material index
CENTRE = 4
ROTATION = 7  # 9 columns, world -> local
SIZE = 16  # 3 columns, meaning by shape
ROUND = 19
RELIEF, RELIEF_FREQUENCY, RELIEF_KIND = 20, 21, 22
REPEAT = 23
ONCE, IN_A_ROW, AROUND, IN_A_GRID = range(4)
REPEAT_COUNT, REPEAT_SPACING = 24, 25
BEND = 26

# Materials: solid textures.
PATTERN = 0
PLAIN, CLOUDS, CHECKS, STRIPES, CELLS, BRICKS, DOTS, MARBLE, BLOCKS, SPECKLES, TEXT, RINGS = range(12)
FREQUENCY = 1
COLOR_A, COLOR_B, COLOR_C = 2, 5, 8
GRAIN, GRAIN_FREQUENCY = 11, 12
SPECULAR, SHININESS = 13, 14
STRETCH = 15  # 3 columns
TEXTURE_SEED = 18
CONTRAST = 19
WARP, WARP_FREQUENCY = 20, 21
TEXTURE_ROTATION = 22  # 9 columns
MIRROR = 31

# Cameras: rotation camera -> world (9, row by row), centre (3), fx, fy, cx, cy, index of the world.
"""OpenCV axes; pixel coordinates with the first pixel's centre at (0.5, 0.5)."""
CAMERA_CENTRE, CAMERA_FX, CAMERA_FY, CAMERA_CX, CAMERA_CY, CAMERA_WORLD = 9, 12, 13, 14, 15, 16
