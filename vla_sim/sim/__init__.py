"""Physics, robots and cameras: the only place with pybullet and panda3d."""
