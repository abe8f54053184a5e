"""Camera pictures of scenes: Panda3D on the CPU or a GPU, and PyBullet's TinyRenderer as the reference."""
