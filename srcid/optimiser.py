"""Adam as torch has it, without the compiler that torch imports with the first optimiser of a process."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """torch's Adam, to the bit, for what is never compiled.

    ``torch.optim`` tells ``torch._dynamo`` to keep away from its methods, and imports it for that: two seconds in every
    process that trains, and time in every step. Here the same methods are called without their wrappers.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
