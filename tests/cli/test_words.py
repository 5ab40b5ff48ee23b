"""The command line's own words, misspelt: one sentence that says what may have been meant."""

import pytest

from greenbench.cli.main import main


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("bnech", "bnech is no command of greenbench: .* (did you mean bench?)"),
        ("technique=gptq", "technique=gptq is no command: write greenbench bench technique=gptq."),
        ("bench --multirn technique=none", "(did you mean --multirun?)"),
        ("bench --cgf", "--cgf is no option of greenbench bench: "),
        ("bench --shards=1/2 technique=none", "(did you mean --shard?)"),
        ("export --format cvs", "--format cvs is unknown: allowed are csv, parquet, model-card (did"),
        ("completion bsh", "SHELL bsh is unknown: allowed are bash, zsh, fish (did you mean bash?)"),
        ("doctor --jsn", "(did you mean --json?)"),
        ("doctor here", "greenbench doctor has no use for here: see greenbench doctor --help."),
        ("make technique=gptq", "required: -o/--output: see greenbench make --help."),
        ("report --margin", "Argument --margin: expected one argument: see greenbench report --help"),
        ("report --margin x", "Argument --margin: invalid float value: 'x': see greenbench report"),
        ("bench --cfg --list", "not allowed with argument --cfg: see greenbench bench --help."),
        ("", "required: COMMAND: see greenbench --help."),
    ],
)  # fmt: skip
def test_a_misspelt_call_is_one_sentence(call, said, capsys):
    assert main(call.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("greenbench: ")
    assert error.count("\n") == 1
    for part in said.split(".*"):
        assert part.strip() in error
