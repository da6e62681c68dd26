"""The nets: backbones with their pixels, weights and fast form, and the MLP head.

    backbone.py     a net and the pixels that it takes: what one's own function returns
    weights.py      what can be said of backbones and weights without loading them
    torch_file.py   files by torch.save, read as those of a stranger
    weight_file.py  a net's tensors in a file: in checkpoints, behind prefixes
    downloads.py    torchvision's published weights
    frozen.py       the features of any net, found by running it
    tokens.py       features pooled from a transformer's tokens
    fast.py         BatchNorm folded, channels last, reduced precision, compiled
    kept.py         compiled nets, kept on the machine
    int8.py         weights and activations of eight bits
    timm_nets.py    nets of timm
    loading.py      nets by name
    tuned.py        a fine-tuned net: its new layer, its file, how others load it
    mlp.py          the head as a plain `nn.Sequential`
    resizing.py     a batch of pictures becomes squares on its device, with Pillow's own pixels
    resizing_kernel.py  the same as a Triton kernel, for CUDA
    precision.py    abilities of the device: native bf16, a compiler, a batch that fits its memory
    schedule.py     the learning rate over the steps of a training

Imports `errors`, `support` and `settings`; never data sets, images or caches.
"""
