"""``bench --factorial``: techniques alone and in all stacks of them, as one sweep."""

import shlex
from argparse import Namespace

import pytest

from greenbench.cli.main import main
from greenbench.cli.overrides import with_factorial

HERE = ["model=smollm2-135m", "task=smoke", "device=cpu"]
THREE = ["--factorial", "prune_depth,gptq,prompt_lookup"]


def listed(capsys, *words):
    assert main(["bench", "--list", *HERE, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    return [next(word for word in words if "technique" in word) for words in commands]


def test_all_stacks_of_them_are_asked_for_in_their_order(capsys):
    assert listed(capsys, *THREE) == [
        "technique=none",
        "technique=prune_depth",
        "technique=gptq",
        "technique=prompt_lookup",
        "technique=[prune_depth,gptq]",
        "technique=[prune_depth,prompt_lookup]",
        "technique=[gptq,prompt_lookup]",
        "technique=[prune_depth,gptq,prompt_lookup]",
    ]


def test_of_a_fraction_pairs_are_left_out_and_the_whole_is_not(capsys):
    alone = listed(capsys, *THREE, "--up-to", "1")
    assert len(alone) == 5
    assert alone[-1] == "technique=[prune_depth,gptq,prompt_lookup]"
    assert len(listed(capsys, *THREE, "--up-to", "2")) == 8


def test_half_of_them_are_those_of_an_odd_number_and_the_whole():
    """Of five as many as with their pairs, which tell the same less exactly."""

    def asked(**how):
        given = {"factorial": "a,b,c,d,e", "overrides": [], "up_to": None, "half": False} | how
        (sweep,) = with_factorial(Namespace(**given)).overrides
        return sweep.removeprefix("technique=").replace("],", "] ").replace(",[", " [").split()

    single, *stacks = asked(half=True)
    assert single == "none,a,b,c,d,e"
    assert [stack.count(",") for stack in stacks] == [2] * 10 + [4]
    assert len(stacks) == len(asked(up_to=2)[1:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--factorial", "gptq"], "--factorial gptq is no list of techniques: say two or more"),
        (["--factorial", "gptq,gptq"], "each once"),
        (["--factorial", "gptq,"], "is no list of techniques"),
        (["--factorial", "gptq,int8"], "technique=int8 is unknown"),
        (["--factorial", "gptq,int8_bnb", "--up-to", "0"], "--up-to 0 leaves no stack"),
        (["--up-to", "2"], "--up-to says which stacks of --factorial are run"),
        (["--half"], "--half says which stacks of --factorial are run"),
        (["--factorial", "gptq,int8_bnb,dtype", "--half"], "--half is of 5 techniques or more"),
        (["--factorial", "gptq,int8_bnb", "technique=none"], "leave technique= out"),
    ],
)
def test_what_is_no_factorial_is_one_sentence(words, said, capsys):
    assert main(["bench", "--list", *HERE, *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
