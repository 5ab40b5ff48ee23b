"""A module of this process answers many who ask at once, one after another and each as if it were alone."""

import threading

import pytest
import torch
from helpers.in_flight import at_once
from helpers.served import module, serve

from greenbench.engines.engine import Request
from greenbench.engines.transformers import compiled
from greenbench.schema.enums import Stop


def requests(count, stop=Stop.fixed):
    """Of several lengths, as those of a load may be."""
    made = torch.Generator().manual_seed(0)
    return [
        Request(
            tuple(torch.randint(3, 256, (4 + place,), generator=made).tolist()), 5 + place, stop
        )
        for place in range(count)
    ]


class Heard:
    """A loop that generates as the model does, and keeps who asked it what, and the answers."""

    def __init__(self, model):
        self._model = model
        self.said, self.threads, self.counts = [], set(), set()

    def __call__(self, prompt, **how):
        self.threads.add(threading.get_ident())
        self.counts.add(torch.get_num_threads())
        output = self._model.generate(prompt, **how)
        self.said.append(output.tolist()[0])
        return output


@pytest.mark.parametrize("stop", Stop)
def test_in_their_order_and_with_the_tokens_of_a_batch_of_one(tiny, stop):
    heard, asked = Heard(tiny), requests(6, stop)
    served = serve(module(tiny, loop=heard))
    alone = [served.complete([each])[0] for each in asked]
    done = served.converse(at_once(*asked))
    assert heard.said[6:] == heard.said[:6]
    assert [each[:2] for each in done] == [each[:2] for each in alone]
    ends = [each.done_s for each in done]
    assert ends == sorted(ends)
    assert all(each.sent_s < done[0].done_s for each in done)  # they have waited, and that counts
    assert threading.get_ident() in heard.threads
    assert len(heard.threads) == 2


def test_its_thread_computes_with_as_many_threads_as_are_held_by_then(tiny):
    heard = Heard(tiny)
    served, before = serve(module(tiny, loop=heard)), torch.get_num_threads()
    try:
        for count in (2, 1, 3):
            torch.set_num_threads(count)
            served.converse(at_once(*requests(1)))
            assert heard.counts == {count}
            heard.counts.clear()
    finally:
        torch.set_num_threads(before)


def test_its_thread_has_the_cuda_graphs_of_the_one_that_served_it():
    """Each thread has its own else; that they are used is for a GPU to show."""
    from torch._inductor import cudagraph_trees as trees

    def kept():
        try:
            return [trees.get_obj(trees.local, name) for name in compiled.GRAPHS_OF_THREAD]
        except AssertionError:  # torch 2.10 has none for a thread of ours
            return [None, None]

    def found(prepare):
        seen = []
        thread = threading.Thread(target=lambda: (prepare(), seen.extend(kept())))
        thread.start()
        thread.join()
        return [here is there for here, there in zip(kept(), seen, strict=True)]

    assert found(lambda: None) == [False, False]
    assert found(compiled.for_another_thread()) == [True, True]
