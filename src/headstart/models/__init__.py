"""The nets: ResNet50 with its weights and its fast form, and the MLP head.

    weights.py      names, digests and presets of ResNet50's weights
    weight_file.py  ResNet50's tensors in a file: in checkpoints, behind prefixes
    resnet50.py     ResNet50: loading, freezing, folding, forward pass, saving
    mlp.py          the head as a plain `nn.Sequential`
    precision.py    abilities of the device: native bf16, a compiler, a batch that fits its memory
    schedule.py     the learning rate over the steps of a training

Imports `errors` and `support`; never data sets, images or caches.
"""
