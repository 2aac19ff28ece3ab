"""Sizes, counts and durations as people read them: 2.91 GiB, 182.4 M, 5 h 20 min."""


def human_size(num_bytes: float, digits: int = 3) -> str:
    """In the binary unit that leaves the fewest digits, rounded to ``digits``: 3124000000 is ``"2.91 GiB"``."""
    if num_bytes < 1024:
        return f"{num_bytes:.0f} B"
    value = num_bytes
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - the unit at which the loop ends
        value /= 1024
        if value < 1023.5:
            break
    return f"{value:.{max(0, digits - len(str(int(value))))}f} {unit}"


def human_count(count: float) -> str:
    """With one digit after the point: 182434000 is ``"182.4 M"``; below 1000 as it is."""
    if count < 1000:
        return f"{count:.0f}"
    for unit in ("k", "M", "G"):  # noqa: B007 - the unit at which the loop ends
        count /= 1000
        if count < 999.95:
            break
    return f"{count:.1f} {unit}"


def human_duration(seconds: float) -> str:
    """In the two largest units: ``"3 d 4 h"``, ``"5 h 20 min"``, ``"12 min"``, ``"45 s"``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"
