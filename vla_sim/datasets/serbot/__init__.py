"""The serbot lab's recordings: HDF5 episodes, their file names, their folders of images."""
