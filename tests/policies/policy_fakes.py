"""Sizes and texts of the tiny networks that these tests use."""

TEXTS = ["Pass the box on the left.", "Pass the box on the right.", "상자를 왼쪽으로 지나가세요", "Go to the red cup"]
SIZES = {"image_px": 32, "channels": (8, 16, 16), "fused_channels": 16, "readout_channels": 8, "feature_dim": 32}
