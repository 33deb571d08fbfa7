"""Writes checkpoints of networks with the layouts and names of the papers' repositories.

Run as a program by `test_from_torch`, in a process of its own, with PyTorch: folder, channels of
the stem.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CLASSES = (5, 7)


def norms(channels, count):
    return nn.ModuleList([nn.BatchNorm2d(channels) for _ in range(count)])


class Series(nn.Module):
    """u + conv(N(u)), under the authors' names."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1, bias=False)
        )

    def forward(self, x):
        return x + self.conv(x)


class Parallel(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x):
        return self.conv(x)


class AdaptedConvolution(nn.Module):
    def __init__(self, channels, filters, stride, mode):
        super().__init__()
        tasks = range(len(CLASSES))
        self.conv = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        if mode == "series":
            self.bns = nn.ModuleList(
                [nn.Sequential(Series(filters), nn.BatchNorm2d(filters)) for _ in tasks]
            )
        else:
            self.bns = norms(filters, len(CLASSES))
        if mode == "parallel":
            self.parallel_conv = nn.ModuleList([Parallel(channels, filters, stride) for _ in tasks])

    def forward(self, x, task):
        y = self.conv(x)
        if hasattr(self, "parallel_conv"):
            y = y + self.parallel_conv[task](x)
        return self.bns[task](y)


class AdaptedBlock(nn.Module):
    def __init__(self, channels, filters, stride, first, second):
        super().__init__()
        self.conv1 = AdaptedConvolution(channels, filters, stride, first)
        self.conv2 = nn.Sequential(nn.ReLU(), AdaptedConvolution(filters, filters, 1, second))
        self.stride = stride

    def forward(self, x, task):
        y = self.conv2[1](functional.relu(self.conv1(x, task)), task)
        return functional.relu(y + shortcut(x, self.stride))


def shortcut(x, stride):
    if stride == 1:
        return x
    x = functional.avg_pool2d(x, 2)
    return torch.cat([x, torch.zeros_like(x)], 1)


class ResidualAdapters(nn.Module):
    def __init__(self, width, mode):
        super().__init__()
        kind = "parallel" if mode == "half" else mode
        first = "normal" if mode == "half" else kind
        self.pre_layers_conv = AdaptedConvolution(3, width, 1, kind)
        for stage in (1, 2, 3):
            sizes = width * 2 ** (stage - 1), width * 2**stage
            blocks = [AdaptedBlock(*sizes, 2, first, kind)]
            blocks += [AdaptedBlock(sizes[1], sizes[1], 1, first, kind) for _ in range(3)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.end_bns = nn.ModuleList(
            [nn.Sequential(nn.BatchNorm2d(8 * width), nn.ReLU()) for _ in CLASSES]
        )
        self.linears = nn.ModuleList([nn.Linear(8 * width, count) for count in CLASSES])

    def forward(self, x, task):
        x = self.pre_layers_conv(x, task)
        for stage in (self.layer1, self.layer2, self.layer3):
            for block in stage:
                x = block(x, task)
        return self.linears[task](self.end_bns[task](x).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, channels, filters, stride, projected=False):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = None
        if projected:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
            )
        self.stride = stride

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        side = shortcut(x, self.stride) if self.downsample is None else self.downsample(x)
        return functional.relu(y + side)


class Shared(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for stage in (1, 2, 3):
            sizes = width * 2 ** (stage - 1), width * 2**stage
            blocks = [Block(*sizes, 2)] + [Block(sizes[1], sizes[1], 1) for _ in range(3)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.end_bn = nn.BatchNorm2d(8 * width)
        heads = [nn.Linear(8 * width, count) for count in classes]
        self.cls_fn = heads[0] if len(heads) == 1 else nn.ModuleList(heads)

    def forward(self, x, task):
        x = self.bn1(self.conv1(x))
        x = self.end_bn(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
        return self.cls_fn(x) if isinstance(self.cls_fn, nn.Linear) else self.cls_fn[task](x)


# Which task it is, a global of the authors' code.
CURRENT = {"task": 0}


class AttachedConvolution(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv
        sizes = conv.in_channels, conv.out_channels, conv.stride
        self.parallel_conv = nn.ModuleList([Parallel(*sizes) for _ in CLASSES])

    def forward(self, x):
        return self.conv(x) + self.parallel_conv[CURRENT["task"]](x)


class DomainNorms(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bns = norms(channels, len(CLASSES))

    def forward(self, x):
        return self.bns[CURRENT["task"]](x)


class Attached(Shared):
    """The shared network, after adapters were attached to it."""

    def __init__(self, width, classes):
        super().__init__(width, classes)
        blocks = [block for block in self.modules() if isinstance(block, Block)]
        for part in [self, *blocks]:
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Conv2d):
                    setattr(part, name, AttachedConvolution(child))
                if isinstance(child, nn.BatchNorm2d):
                    setattr(part, name, DomainNorms(child.num_features))

    def forward(self, x, task):
        CURRENT["task"] = task
        return super().forward(x, task)


def unit(channels, filters):
    conv = nn.Conv2d(channels, filters, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU())


class SegNet(nn.Module):
    """13 convolutions down and 13 up; places of the maxima are kept."""

    def __init__(self, width):
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        below, above = [3, *sizes[:4]], [sizes[0], *sizes[:4]]
        self.encoder_block = nn.ModuleList([unit(a, b) for a, b in zip(below, sizes)])
        self.decoder_block = nn.ModuleList([unit(a, b) for a, b in zip(sizes, above)])
        more = [1, 1, 2, 2, 2]
        self.conv_block_enc = nn.ModuleList([self.units(n, k) for n, k in zip(sizes, more)])
        self.conv_block_dec = nn.ModuleList([self.units(n, k) for n, k in zip(above, more)])

    def units(self, channels, count):
        made = [unit(channels, channels) for _ in range(count)]
        return made[0] if count == 1 else nn.Sequential(*made)

    def forward(self, x):
        places = []
        for first, others in zip(self.encoder_block, self.conv_block_enc):
            x, where = functional.max_pool2d(others(first(x)), 2, return_indices=True)
            places.append(where)
        for level in reversed(range(5)):
            x = functional.max_unpool2d(x, places[level], 2)
            x = self.conv_block_dec[level](self.decoder_block[level](x))
        return x


class DenseHead(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.pred_task = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, outputs, 1)
        )

    def forward(self, x):
        return self.pred_task(x)


MAPS = {"semantic": 5, "depth": 1, "normal": 3}
FINISH = {
    "semantic": lambda x: functional.log_softmax(x, 1),
    "depth": lambda x: x,
    "normal": lambda x: functional.normalize(x),
}


class Dense(nn.Module):
    def __init__(self, width, tasks):
        super().__init__()
        self.backbone = SegNet(width)
        self.tasks = tasks
        heads = {task: DenseHead(width, MAPS[task]) for task in tasks}
        if len(tasks) == 1:
            self.decoder = heads[tasks[0]]
        else:
            self.decoders = nn.ModuleDict(heads)

    def forward(self, x, task):
        name = self.tasks[task]
        head = self.decoder if len(self.tasks) == 1 else self.decoders[name]
        return FINISH[name](head(self.backbone(x)))


class FewShot(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 5, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        for stage in (1, 2, 3, 4):
            before, filters = sizes[stage - 1 : stage + 1]
            stride = 1 if stage == 1 else 2
            blocks = [Block(before, filters, stride, stage > 1), Block(filters, filters, 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.cls_fn = nn.Linear(8 * width, 11)

    def forward(self, x, task):
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


def main(folder, width):
    sys.modules["torch_networks"] = sys.modules["__main__"]
    torch.manual_seed(0)
    networks = {mode: ResidualAdapters(width, mode) for mode in ("normal", "parallel", "half")}
    networks |= {
        "series": ResidualAdapters(width, "series"), "shared": Shared(width, CLASSES),
        "single": Shared(width, CLASSES[:1]), "url": FewShot(2 * width),
        "attached": Attached(width, CLASSES), "dense": Dense(width, list(MAPS)),
        "dense_single": Dense(width, ["normal"]),
    }  # fmt: skip
    for name, network in networks.items():
        for module in network.modules():
            type(module).__module__ = type(module).__module__.replace("__main__", "torch_networks")
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0.0, 0.1)
                nn.init.normal_(module.running_mean, 0.0, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        network.eval()
        size = 84 if name == "url" else 64
        images = torch.randn(2, 3, size, size)
        tasks = 1 if name in ("single", "url", "dense_single") else len(CLASSES)
        tasks = len(MAPS) if name == "dense" else tasks
        with torch.no_grad():
            outputs = {f"task{task}": network(images, task).numpy() for task in range(tasks)}
        np.savez(f"{folder}/{name}.npz", images=images.numpy(), **outputs)
        # As the repositories save them: whole networks, a part of a dictionary, or the weights.
        if name in ("normal", "parallel", "half", "series"):
            torch.save(network, f"{folder}/{name}.pth", _use_new_zipfile_serialization=False)
        elif name == "url":
            torch.save({"epoch": 1, "state_dict": network.state_dict()}, f"{folder}/{name}.pth")
        elif name.startswith("dense"):
            moments = {"state": {0: {"exp_avg": torch.zeros(3)}}}
            kept = {
                "epoch": 1,
                "state_dict": network.state_dict(),
                "optimizer": moments,
                "adaptor_optimizer": moments,
                "adaptor_depth": {"conv1.weight": torch.ones(2)},
            }
            torch.save(kept, f"{folder}/{name}.pth")
        else:
            adapters = {"0.weight": torch.zeros(3)}
            kept = {"net": network.state_dict(), "adaptors": adapters, "acc": 1.0, "epoch": 2}
            torch.save(kept, f"{folder}/{name}.pth")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
