"""TAB in real shells: what is typed, and what stands there then."""

import os
import pty
import re
import shutil
import subprocess
import sys
from itertools import takewhile

import pytest

TYPED = {
    "greenbench exp": "greenbench export ",
    "greenbench completion fi": "greenbench completion fish ",
    "greenbench bench --multir": "greenbench bench --multirun ",
    "greenbench bench work": "greenbench bench workload",
    "greenbench bench workload.batch": "greenbench bench workload.batch_size=",
    "greenbench bench workload.stop=nat": "greenbench bench workload.stop=natural ",
    "greenbench bench technique=prune_depth_": "greenbench bench technique=prune_depth_heal ",
    "greenbench bench 'technique=[none,prune_depth_": "greenbench bench 'technique=[none,prune_depth_heal' ",
    "greenbench bench technique=gptq technique.gptq.bi":
        "greenbench bench technique=gptq technique.gptq.bits=",
    "greenbench bench +exp": "greenbench bench +experiments=",
    "greenbench bench +experiments=techniques": "greenbench bench +experiments=techniques-cpu ",
    "greenbench bench seed=1 --multirun +experiments=smo":
        "greenbench bench seed=1 --multirun +experiments=smoke ",
    "greenbench fetch model=llama": "greenbench fetch model=llama3.2-1b ",
    "greenbench make technique=gptq -o somewhere engine=vll":
        "greenbench make technique=gptq -o somewhere engine=vllm ",
    "greenbench export --format par": "greenbench export --format parquet ",
    "greenbench report elsew": "greenbench report elsewhere",
}  # fmt: skip
"""By what is typed before TAB is, the whole line after it."""
DUMP = "\x07"
"""The key that shows the line."""
BASH = r"""
PS1=; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'
eval "$(greenbench completion bash)"
show() { printf '<<%s>>' "$READLINE_LINE"; }
bind -x '"\C-g": show'
"""
ZSH = r"""
PS1=; unsetopt prompt_sp zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste
autoload -U compinit; compinit -u
eval "$(greenbench completion zsh)"
show() { print -rn -- "<<$BUFFER>>" }
zle -N show; bindkey '^G' show
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A directory with ``greenbench`` in its bin, and an environment that finds it first."""
    place = tmp_path_factory.mktemp("shell")
    (place / "bin").mkdir()
    (place / "elsewhere").mkdir()
    program = place / "bin" / "greenbench"
    program.write_text(
        f"#!{sys.executable}\nfrom greenbench.cli.main import main\nraise SystemExit(main())\n"
    )
    program.chmod(0o755)
    paths = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return place, os.environ | paths | {"TERM": "dumb", "HOME": str(place)}


class Shell:
    """An interactive shell in a terminal of its own."""

    def __init__(self, command, setup, there):
        place, environment = there
        ours, its = pty.openpty()
        self._terminal = ours
        self._process = subprocess.Popen(
            command, stdin=its, stdout=its, stderr=its, cwd=place, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(its)
        self._write(setup + "\necho rea''dy\n")
        self._until("ready")

    def after_tab(self, typed):
        """The line once TAB was pressed behind it."""
        self._write(f"\x15{typed}\t{DUMP}")  # on an empty line
        return re.search(r"<<(.*?)>>", self._until(">>"), re.DOTALL)[1]

    def end(self):
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def _write(self, text):
        os.write(self._terminal, text.encode())

    def _until(self, mark):
        seen = ""
        while mark not in seen:
            seen += os.read(self._terminal, 65536).decode(errors="replace")
        return seen


@pytest.fixture(scope="module")
def bash(there):
    shell = Shell(["bash", "--norc", "--noprofile", "-i"], BASH, there)
    yield shell
    shell.end()


@pytest.fixture(scope="module")
def zsh(there):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    shell = Shell(["zsh", "-f", "-i"], ZSH, there)
    yield shell
    shell.end()


@pytest.mark.parametrize(("typed", "whole"), TYPED.items())
def test_bash_completes_the_line(bash, typed, whole):
    assert bash.after_tab(typed).rstrip("/") == whole


def test_bash_quotes_what_it_would_take_for_a_pattern(bash):
    whole = r"greenbench bench technique=\[none,prune_depth_heal "
    assert bash.after_tab("greenbench bench technique=[none,prune_depth_") == whole


@pytest.mark.parametrize(("typed", "whole"), TYPED.items())
def test_zsh_completes_the_line(zsh, typed, whole):
    assert zsh.after_tab(typed).rstrip("/ ") == whole.rstrip()


@pytest.mark.parametrize(("typed", "whole"), TYPED.items())
def test_fish_completes_the_line(there, typed, whole):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    place, environment = there
    done = subprocess.run(
        ["fish", "--no-config", "-c", 'greenbench completion fish | source; complete -C "$argv[1]"', typed],
        cwd=place, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert _begins(words).strip("/'") == whole.rstrip().rpartition(" ")[2].strip("'")


def _begins(words):
    """What all have in common at their beginning."""
    return "".join(
        each[0] for each in takewhile(lambda each: len({*each}) == 1, zip(*words, strict=False))
    )
