"""Layers around a request: the first is the outermost, and each decides whether and how often what lies beneath is asked."""

from runtime.agents.asking import through


async def test_the_first_layer_is_the_outermost():
    passed = []

    def layer(name):
        async def pass_on(request, ask):
            passed.append(f"{name} in")
            answer = await ask(request + name)
            passed.append(f"{name} out")
            return answer

        return pass_on

    async def ask(request):
        passed.append(request)
        return "answer"

    assert await through([layer("a"), layer("b")], ask)("q") == "answer"
    assert passed == ["a in", "b in", "qab", "b out", "a out"]


async def test_a_layer_may_answer_itself_or_ask_again():
    asked = []

    async def ask(request):
        asked.append(request)
        return len(asked)

    async def twice(request, ask):
        await ask(request)
        return await ask(request)

    async def never(request, ask):
        return "kept"

    assert await through([], ask)("q") == 1
    assert await through([twice], ask)("q") == 3
    assert await through([never, twice], ask)("q") == "kept"
    assert len(asked) == 3
