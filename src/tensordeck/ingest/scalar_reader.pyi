from tensordeck.store.contract import Floats, Ints

def read_scalars(
    data: bytes, whole_experiment: bool
) -> tuple[str, list[tuple[str, list[str], list[int], int, int]], Ints, Ints, Floats] | None: ...
