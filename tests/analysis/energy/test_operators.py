"""Operators are told by names, shapes and number formats alone."""

from __future__ import annotations

import pytest

from greenbench.analysis.energy.operators import Product, kind, known, product, profiled
from greenbench.schema.profile import Operation, Trace

F, I8, U8 = "float", "signed char", "unsigned char"


def operation(name, *inputs, calls=10, seconds=1.0):
    """`inputs` are shapes, each with its numbers."""
    shapes, numbers = zip(*inputs, strict=True) if inputs else ((), ())
    return Operation(name, shapes, numbers, calls, seconds)


def trace(*operations, between_s=0.0, asleep_s=0.0, launching_s=0.0, untold_s=0.0):
    return Trace(1.0, operations, between_s, launching_s, asleep_s, untold_s)


PROMPT = operation("aten::addmm", ((64,), F), ((32, 128), F), ((128, 64), F), calls=1, seconds=0.9)
STEP = operation("aten::addmm", ((64,), F), ((1, 128), F), ((128, 64), F), seconds=2.0)
KNOWN = known([trace(PROMPT, STEP)], on_host=True)
BRIEF = operation("aten::neg", ((1, 128), F), seconds=1e-5)


@pytest.mark.parametrize(
    ("seen", "is_kind"),
    [
        (STEP, "products"),
        (operation("aten::mv", ((64, 128), F), ((128,), F)), "launches"),  # of others, which do it
        (operation("aten::_int_mm", ((1, 128), I8), ((128, 64), I8)), "packed products"),
        (operation("bitsandbytes::gemv_4bit", ((1, 128), F), ((4096, 1), U8)), "packed products"),
        (operation("mkldnn::_linear_pointwise", ((1, 128), F), ((64, 128), F)), "products"),
        (operation("void cutlass::Kernel2<cutlass_80_tensorop>(Params)"), "products"),
        (operation("aten::scaled_dot_product_attention", ((1, 2, 1, 64), F)), "attention"),
        (operation("aten::cat", ((1, 2, 900, 64), F)), "attention"),  # the cache grows
        (operation("_C::cpu_attn_reshape_and_cache", ((1, 2, 32), F)), "attention"),
        (operation("vllm::unified_kv_cache_update", ((1, 2, 32), F)), "attention"),
        (operation("aten::copy_", ((64, 128), F), ((64, 128), I8)), "conversions"),
        (operation("aten::copy_", ((64, 128), F), ((64, 128), F)), "copies"),
        (operation("aten::mul", ((64, 128), F), ((64, 1), F)), "matrix work"),
        (operation("aten::bitwise_and", ((64, 64), U8), ((), "")), "conversions"),  # two in one
        (operation("aten::mul", ((1, 128), F), ((128,), F)), "operators"),
        (operation("aten::embedding", ((64, 128), F), ((1, 3), "long int")), "operators"),
        (operation("aten::t", ((64, 128), F)), "launches"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.name,
)  # fmt: skip
def test_what_an_operator_does(seen, is_kind):
    assert kind(seen, KNOWN) == is_kind


def test_an_operator_that_is_begun_longer_than_it_works_is_a_launch():
    assert kind(BRIEF, known([trace(BRIEF)], on_host=True)) == "launches"
    assert kind(BRIEF, known([trace(BRIEF)], on_host=False)) == "operators"


def test_products_are_known_by_their_shapes():
    assert product(STEP) == Product(1, 128, 64)
    assert product(operation("aten::dot", ((5,), F), ((5,), F))) == Product(1, 5, 1)
    assert product(BRIEF) is None
    assert KNOWN.matrices == {128 * 64}


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ([((3, 256), F), ((3, 128), F), ((256, 128), F)], Product(3, 128, 256)),
        ([((3, 256), F), ((3, 128), I8), ((), "Scalar")], Product(3, 128, 256)),  # a handle
        ([((16, 128), F), ((16, 256), "int"), ((2, 256), F)], Product(16, 128, 32)),  # 8 in one
        ([((3, 128), F), ((128, 256), F)], Product(3, 128, 256)),
    ],
    ids=["result first", "the matrix is not told", "packed", "result last"],
)
def test_products_of_vllms_own_kernels(inputs, found):
    assert product(operation("_C::some_gemm", *inputs)) == found


def test_sums_add_up_and_what_goes_with_rows_is_on_a_line():
    """A step of 1 row takes 0.2 s, a prompt of 32 rows 0.9 s: 0.7/31 s a row."""
    traces = [trace(PROMPT, STEP, BRIEF, between_s=0.5, asleep_s=0.2, untold_s=0.1)]
    found = profiled(traces, KNOWN)
    assert found.kinds_s["products"] == [pytest.approx(2.9)]
    assert found.kinds_s["outside operators"] == [pytest.approx(0.3)]
    assert (found.kinds_s["waiting"], found.kinds_s["untold"]) == ([0.2], [0.1])
    assert found.multiplications == 128 * 64 * (32 + 10)
    assert found.elements == 10 * 128
    assert found.by_rows_s == [pytest.approx(0.7 / 31 * (32 + 10))]
    assert [each.name for each in found.operators] == ["aten::addmm", "aten::neg"]
