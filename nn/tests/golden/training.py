"""Trainings of PyTorch 2.15 in float64, for nn/tests/pytorch_training.rs: writes training.json beside this file.

Run: python training.py
"""

import json
import pathlib

import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
STEPS = 12


def net():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4), torch.nn.SiLU(), torch.nn.Linear(4, 2))


def loss_of(kind, f, y):
    if kind == "mse":
        return 0.5 * ((f - y) ** 2).sum(1).mean()
    return torch.nn.functional.cross_entropy(f, y)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_momentum_decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02),
    "adam_decay": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.05),
}
SCHEDULES = {
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0),
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=5, gamma=0.3),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
}


def flat(values):
    return [v.detach().reshape(-1).tolist() for v in values]


generator = torch.Generator().manual_seed(1)
x = torch.randn(6, 3, generator=generator)
y = torch.nn.functional.softmax(torch.randn(6, 2, generator=generator), 1)
cases = []
for name, optimizer in OPTIMIZERS.items():
    for loss in ("mse", "xent"):
        for schedule in SCHEDULES if name in ("sgd", "adam") else ("constant",):
            model = net()
            opt = optimizer(model.parameters())
            rates = SCHEDULES[schedule](opt)
            losses = []
            for _ in range(STEPS):
                opt.zero_grad()
                value = loss_of(loss, model(x), y)
                value.backward()
                opt.step()
                rates.step()
                losses.append(value.item())
            cases.append({"optimizer": name, "loss": loss, "schedule": schedule, "losses": losses, "parameters": flat(model.parameters())})
out = {
    "about": f"PyTorch {torch.__version__.split('+')[0]}, float64, {STEPS} steps on one batch; weights are [out, in]",
    "x": x.reshape(-1).tolist(),
    "y": y.reshape(-1).tolist(),
    "start": flat(net().parameters()),
    "cases": cases,
}
path = pathlib.Path(__file__).with_name("training.json")
path.write_text(json.dumps(out).replace('{"optimizer"', '\n{"optimizer"') + "\n")
