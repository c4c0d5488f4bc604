# mypy: disable-error-code="no-any-return"
"""Sample networks with dropout of all kinds. Each is ready to be exported with the inputs beside it."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Case = tuple[nn.Module, tuple[Tensor, ...]]


class Mlp(nn.Sequential):
    """With BatchNorm whose statistics are not those it was born with."""

    def __init__(self, p: float = 0.25) -> None:
        super().__init__(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(p), nn.Linear(16, 3))
        assert isinstance(self[1], nn.BatchNorm1d)
        nn.init.normal_(self[1].running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(self[1].running_var, 0.5, 2.0)  # type: ignore[arg-type]


class Cnn(nn.Module):
    """Dropout2d, functional dropout, and a view that names the batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.drop = nn.Dropout2d(0.3)
        self.head = nn.Linear(4 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu(self.conv(x)))
        x = F.max_pool2d(x, 2).view(x.size(0), -1)
        return self.head(F.dropout(x, 0.4, self.training))


class Tokens(nn.Module):
    """A transformer encoder on tokens, its attention's dropout included; batch_first as it comes."""

    def __init__(self, batch_first: bool, layers: int = 2) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)  # (rows, length, 8)
        if not self.batch_first:
            return self.head(self.encoder(x.transpose(0, 1)).mean(0))
        return self.head(self.encoder(x).mean(1))


class AttentionWeights(nn.Module):
    """Multi-head attention that returns its weights takes another way through torch, by (rows x heads, L, S)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.3, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y, weights = self.attention(x, x, x, need_weights=True)
        return self.head(y.mean(1)) + weights.mean((1, 2))[:, None]


class Attention(nn.Module):
    """Scaled dot-product attention with what its signature allows."""

    bias: Tensor

    def __init__(self, mask: str = "none", groups: int = 1) -> None:
        super().__init__()
        self.mask, self.groups = mask, groups
        self.head = nn.Linear(20, 2)
        self.register_buffer("bias", torch.randn(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        query = x.view(x.size(0), 5, 4, 4).transpose(1, 2)  # (rows, heads, length, width)
        key = query[:, :: self.groups]
        seen = (self.bias > -1) & (torch.arange(5) != 2)[:, None]  # by the query in the middle nothing
        masks = {
            "bool": self.bias > -1,
            "float": self.bias,
            "bool, blind": seen,
            "float, blind": self.bias.masked_fill(~seen, -math.inf),
        }
        y = F.scaled_dot_product_attention(
            query,
            key,
            key * 2,
            attn_mask=masks.get(self.mask),
            dropout_p=0.3 if self.training else 0.0,
            is_causal=self.mask == "causal",
            scale=0.7,
            enable_gqa=self.groups > 1,
        )
        return self.head(y.mean(3).flatten(1))


class Selu(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 12), nn.SELU(), nn.AlphaDropout(0.2), nn.Linear(12, 4))


class FeatureAlpha(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 6, 3), nn.SELU(), nn.FeatureAlphaDropout(0.35), nn.Flatten(), nn.Linear(24, 2))


class Residual(nn.Module):
    """A skip connection around dropout, of a tensor that no mask reaches, and one of the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.one(x))
        return self.two(y + self.drop(y)) + x


class ClassToken(nn.Module):
    """As in vision transformers: a learned token that is expanded to the rows of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.place = nn.Parameter(torch.randn(1, 7, 4))
        self.drop = nn.Dropout(0.3)
        self.mix, self.head = nn.Linear(7, 7), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.place
        x = self.drop(self.mix(x.transpose(1, 2)).transpose(1, 2))
        return self.head(x[:, 0])


class TwoInputs(nn.Module):
    """Only one of the inputs passes through dropout; the other meets it later."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 5), nn.Embedding(9, 5)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Bilinear(5, 5, 2)

    def forward(self, x: Tensor, token: Tensor) -> Tensor:
        return self.head(self.drop(F.gelu(self.left(x))), self.right(token[:, 0]))


class Shared(nn.Module):
    """One dropout module in a nested one, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(5, 5), nn.ELU(), nn.Dropout(0.3))
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.block(x)))


class TimeFirst(nn.Module):
    """Dropout where the rows are the second axis, and where time and rows share the first."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.drop = nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu(self.one(x.transpose(0, 1))))  # (time, rows, 4)
        flat = self.drop(self.two(x.reshape(-1, 4)))  # (time x rows, 4)
        again = x + flat.reshape(x.shape)
        return self.head(again.mean(0))


class LateTimeFirst(nn.Module):
    """A skip connection of time x rows, which has to be repeated where the rows are not outermost."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.transpose(0, 1).reshape(-1, 3)  # (time x rows, 3)
        y = F.dropout(self.one(flat), 0.4, self.training) + flat
        return self.head(y.view(x.size(1), x.size(0), 3).mean(0))


class Paths(nn.Module):
    """Stochastic depth: whole branches are dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        if self.training:
            y = y * y.new_empty(y.size(0), 1, 1, 1).bernoulli_(0.6).div_(0.6)
        return self.head((x + y).mean((2, 3)))


class Locked(nn.Module):
    """Variational dropout: the noise is shared along time, and by the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        if self.training:
            x = x * x.new_empty(1, 1, x.size(2)).bernoulli_(0.6).div_(0.6)
        return self.head(x.mean(1))


class Indexed(nn.Module):
    """Picks the last step of each row by its length, by an index that counts the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.head = nn.Linear(3, 4), nn.Linear(4, 2)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        y = self.drop(torch.relu(self.one(x)))
        return self.head(y[torch.arange(x.size(0)), last])


class Recurrent(nn.Module):
    """Dropout between the layers of a recurrent network, and behind it."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], two_ways: bool = False) -> None:
        super().__init__()
        self.recurrent = kind(3, 4, 2, dropout=0.4, batch_first=True, bidirectional=two_ways)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8 if two_ways else 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.recurrent(x)[0][:, -1]))


class Normed(nn.Module):
    """Group, layer and instance normalisation behind dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout2d(0.2),
            nn.Conv2d(2, 4, 3),
            nn.GroupNorm(2, 4),
            nn.InstanceNorm2d(4, track_running_stats=True),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.LayerNorm(16),
            nn.Linear(16, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Samples(nn.Module):
    """Multi-sample dropout: the same data is dropped from several times."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.alpha, self.head = nn.Dropout(0.4), nn.AlphaDropout(0.3), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(x)) + self.head(self.drop(x)) + self.head(self.alpha(x) * self.alpha(x))


class Variadic(nn.Module):
    """Takes any number of inputs; position embeddings are counted out along each row."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.drop, self.head = nn.Embedding(5, 3), nn.Dropout1d(0.3), nn.Linear(3, 2)

    def forward(self, *inputs: Tensor) -> Tensor:
        places = self.place(torch.arange(inputs[0].size(1)))
        return self.head(self.drop(inputs[0] + places).mean(1)) + self.head(inputs[1])


class Single(nn.Module):
    """Calculated in whatever precision, answered in single."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def stacked() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.1), nn.Linear(6, 9), nn.Dropout(0.5), nn.Dropout(0.3), nn.GELU(), nn.Linear(9, 2))


def spectral() -> nn.Module:
    linear = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5))
    return nn.Sequential(
        linear, nn.LeakyReLU(), nn.Dropout(0.3), nn.utils.parametrizations.weight_norm(nn.Linear(5, 2))
    )


def tokens(rows: int, length: int) -> Tensor:
    return torch.randint(0, 9, (rows, length))


CASES: dict[str, Callable[[], Case]] = {
    "mlp with BatchNorm": lambda: (Mlp(), (torch.randn(4, 6),)),
    "cnn": lambda: (Cnn(), (torch.randn(4, 1, 8, 8),)),
    "transformer, rows first": lambda: (Tokens(batch_first=True), (tokens(4, 5),)),
    "transformer, time first": lambda: (Tokens(batch_first=False, layers=1), (tokens(4, 5),)),
    "attention weights": lambda: (AttentionWeights(), (torch.randn(4, 5, 8),)),
    "attention": lambda: (Attention(), (torch.randn(4, 80),)),
    "attention, causal": lambda: (Attention("causal"), (torch.randn(4, 80),)),
    "attention, boolean mask": lambda: (Attention("bool"), (torch.randn(4, 80),)),
    "attention, additive mask": lambda: (Attention("float", groups=2), (torch.randn(4, 80),)),
    "attention, a query that may see no key": lambda: (Attention("bool, blind"), (torch.randn(4, 80),)),
    "attention, the same by an additive mask": lambda: (Attention("float, blind"), (torch.randn(4, 80),)),
    "alpha": lambda: (Selu(), (torch.randn(4, 6),)),
    "feature alpha": lambda: (FeatureAlpha(), (torch.randn(4, 2, 4, 4),)),
    "residual": lambda: (Residual(), (torch.randn(4, 6),)),
    "class token": lambda: (ClassToken(), (torch.randn(4, 6, 4),)),
    "two inputs": lambda: (TwoInputs(), (torch.randn(4, 4), tokens(4, 1))),
    "shared": lambda: (Shared(), (torch.randn(4, 5),)),
    "stacked, on the input": lambda: (stacked(), (torch.randn(4, 6),)),
    "time first": lambda: (TimeFirst(), (torch.randn(4, 5, 3),)),
    "time first, skip": lambda: (LateTimeFirst(), (torch.randn(4, 5, 3),)),
    "stochastic depth": lambda: (Paths(), (torch.randn(4, 2, 3, 3),)),
    "shared noise": lambda: (Locked(), (torch.randn(4, 5, 3),)),
    "indexed": lambda: (Indexed(), (torch.randn(4, 5, 3), torch.tensor([4, 0, 2, 1]))),
    "lstm": lambda: (Recurrent(nn.LSTM), (torch.randn(4, 5, 3),)),
    "gru, two ways": lambda: (Recurrent(nn.GRU, two_ways=True), (torch.randn(4, 5, 3),)),
    "multi-sample": lambda: (Samples(), (torch.randn(4, 6),)),
    "variadic": lambda: (Variadic(), (torch.randn(4, 5, 3), torch.randn(4, 3))),
    "normalisations": lambda: (Normed(), (torch.randn(4, 2, 6, 6),)),
    "spectral norm": lambda: (spectral(), (torch.randn(4, 6),)),
    "one row": lambda: (Mlp(), (torch.randn(1, 6),)),
    "double precision": lambda: (
        nn.Sequential(Mlp().double(), Single()),
        (torch.randn(4, 6, dtype=torch.float64),),
    ),
}
