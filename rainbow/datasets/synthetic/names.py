"""Vietnamese names, from lists of our own: a name generator's lists change with its versions, and the same seed has to give the same shop."""

from __future__ import annotations

import numpy as np

from rainbow.datasets.draws import Draws, Ints

CATEGORIES = ("Điện thoại", "Máy tính bảng")
PAYMENTS = ("Tiền mặt khi nhận hàng", "Thẻ tín dụng", "Chuyển khoản ngân hàng", "Ví điện tử")
BRANDS = (
    "An Phát", "Bình Minh", "Cửu Long", "Đông Á", "Hạ Long", "Hoa Sen", "Hồng Hà", "Hương Giang", "Kim Cương", "Lạc Việt",
    "Mai Vàng", "Nam Sơn", "Phù Đổng", "Rạng Đông", "Rồng Vàng", "Sao Việt", "Sông Hương", "Thăng Long", "Trường Sơn",
)  # fmt: skip

_FAMILY = (
    "Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Huỳnh", "Phan", "Vũ", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô", "Dương", "Lý",
)  # fmt: skip
_MIDDLE = (
    "Văn", "Thị", "Hữu", "Đức", "Minh", "Thanh", "Quang", "Ngọc", "Thu", "Hồng", "Gia", "Xuân", "Kim", "Anh", "Bảo",
)  # fmt: skip
_GIVEN = (
    "An", "Bình", "Châu", "Dũng", "Giang", "Hà", "Hải", "Hạnh", "Hiếu", "Hoa", "Hùng", "Hương", "Khánh", "Lan", "Linh", "Long", "Mai",
    "My", "Nam", "Nga", "Nhung", "Phong", "Phúc", "Phương", "Quân", "Quỳnh", "Sơn", "Tâm", "Thảo", "Thắng", "Trang", "Trung", "Tú",
    "Tuấn", "Uyên", "Vân", "Việt", "Vy", "Yến",
)  # fmt: skip
_STREETS = ("Lê Lợi", "Trần Phú", "Nguyễn Huệ", "Hai Bà Trưng", "Lý Thường Kiệt", "Điện Biên Phủ", "Hùng Vương", "Quang Trung")
_MEMORY = ("64GB", "128GB", "256GB", "512GB")
_COLOURS = ("Đen", "Trắng", "Xanh dương", "Xanh lá", "Đỏ", "Tím", "Vàng", "Bạc")


def people(draws: Draws, count: int) -> list[str]:
    """``count`` different names, at most 9,360."""
    picked = draws.order(len(_FAMILY) * len(_MIDDLE) * len(_GIVEN), "people")[:count].tolist()
    return [f"{_FAMILY[n % 16]} {_MIDDLE[n // 16 % 15]} {_GIVEN[n // 240]}" for n in picked]


def sellers(draws: Draws, count: int) -> list[str]:
    """``count`` different shops."""
    owners = draws.order(len(_GIVEN), "sellers")[:count].tolist()
    streets = draws.below(len(_STREETS), "streets", np.arange(count)).tolist()
    return [f"Cửa hàng {_GIVEN[owner]} - {_STREETS[street]}" for owner, street in zip(owners, streets, strict=True)]


def new_street(draws: Draws, name: str, day: int) -> str:
    """The shop's name after it moved."""
    return f"{name.split(' - ')[0]} - {int(draws.below(300, 'house number', day)[0]) + 1} {_STREETS[day % len(_STREETS)]}"


def products(draws: Draws, category: Ints, brand: Ints) -> list[str]:
    """Names of products from their categories and brands, both from 1; brand 0: none."""
    ids = np.arange(1, len(category) + 1)
    model, memory, colour = draws.below(90, "model", ids), draws.below(4, "memory", ids), draws.below(8, "colour", ids)
    return [
        f"{CATEGORIES[c - 1]} {BRANDS[b - 1] + ' ' if b else ''}M{10 + m} {_MEMORY[g]} {_COLOURS[h]} #{n}"
        for n, c, b, m, g, h in zip(*(v.tolist() for v in (ids, category, brand, model, memory, colour)), strict=True)
    ]
