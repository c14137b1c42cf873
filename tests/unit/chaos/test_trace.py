"""The reader of recordings sees an answer that came too early, and no other."""

from tests.chaos.tools.trace import judge

RUN = "01a21376-e6d7-7832-846b-0a7eafe0240e"
OTHER = "01a21377-3ad1-7fe9-bf74-1a7eafe0240e"
WAL = "pwrite64(9</data/w.db-wal>, "
SOCKET = "<TCP:[127.0.0.1:1->127.0.0.1:2]>"
ASK = f'1 1.0 recvfrom(12{SOCKET}, "POST /v1/workflows/w/runs HTTP/1.1\\r\\n", 262144, 0, NULL, NULL) = 99'
WRITE = f'2 1.0 {WAL}"\\0\\0{RUN}\\3", 4096, 56) = 4096'
WRITE_MORE = f'2 1.0 {WAL}"\\0\\0", 4096, 4152) = 4096'
SYNC = "2 1.0 fdatasync(9</data/w.db-wal>) = 0"
SYNC_BEGINS, SYNC_ENDS = "2 1.0 fdatasync(9</data/w.db-wal> <unfinished ...>", "2 1.0 <... fdatasync resumed>) = 0"
ANSWER = f'1 1.0 sendto(12{SOCKET}, "HTTP/1.1 202 Accepted\\r\\nlocation: /v1/runs/{RUN}\\r\\n", 300, 0, NULL, 0) = 300'
BODY = f'1 1.0 sendto(12{SOCKET}, "{{\\"run_id\\":\\"{RUN}\\"}}", 60, 0, NULL, 0) = 60'


def found(*lines: str) -> tuple[int, int]:
    verdict = judge(lines, "w.db-wal")
    return verdict.acknowledgements, len(verdict.violations)


def test_in_order():
    assert found(ASK, WRITE, WRITE_MORE, SYNC, ANSWER, BODY) == (1, 0)
    assert found(ASK, WRITE, SYNC_BEGINS, SYNC_ENDS, ANSWER, BODY) == (1, 0)


def test_an_answer_before_the_sync():
    assert found(ASK, WRITE, ANSWER, BODY, SYNC) == (1, 1)
    assert found(ASK, WRITE, SYNC_BEGINS, ANSWER, SYNC_ENDS) == (1, 1)


def test_a_sync_of_something_else():
    assert found(ASK, SYNC, WRITE, ANSWER) == (1, 1)
    assert found(ASK, WRITE, SYNC.replace("2 1.0", "3 1.0"), ANSWER) == (1, 1)
    assert found(ASK, WRITE, SYNC.replace("w.db-wal", "other"), ANSWER) == (1, 1)


def test_an_answer_of_what_nobody_wrote():
    assert found(ASK, WRITE.replace(RUN, OTHER), SYNC, ANSWER) == (1, 1)
    assert found(WRITE, SYNC, ASK, ANSWER) == (1, 1)


def test_what_is_no_acknowledgement():
    assert found(ASK.replace("POST", "GET"), ANSWER) == (0, 0)
    assert found(ASK, ANSWER.replace("202 Accepted", "503 Service Unavailable")) == (0, 0)
    assert found(ASK) == (0, 0)
