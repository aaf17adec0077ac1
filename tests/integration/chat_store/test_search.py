"""Searching: what it finds, in which order, and what it may cost the others."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from parley.contracts import ids, rpc, subjects
from parley.runtime.nats.errors import RpcRefused
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore, migrate
from tests.integration.chat_store.corpus import write
from tests.support.waiting import eventually

# --- what it finds ----------------------------------------------------------------------------------------------------

MESSAGES = {
    "mail": "Write to anna@post.example before Friday, she answers quickly.",
    "host": "The mirror moved to https://vendor.test/downloads last week.",
    "version": "Upgrade to 12.4.1 first, then restart both nodes.",
    "language": "The parser is written in C++ and has no dependencies.",
    "percent": "Sales grew by 50% in the second quarter.",
    "path": r"The log is in C:\Temp\logs_2024\app.log on that machine.",
    "code": "Call `await store.get_chat(user_id=None)` with await.",
    "price": "It costs $3.99 or €4,50 per month.",
    "quote": 'She said: "don\'t panic" and left.',
    "hash": "Issue #4711 is a duplicate of another one.",
    "german": "Die Größe der Straße überrascht Fußgänger in Zürich.",
    "french": unicodedata.normalize("NFD", "Le café crème est déjà prêt à l’hôtel."),
    "turkish": "Iğdır'da hava güneşli ve çok sıcak.",
    "vietnamese": unicodedata.normalize("NFD", "Tiếng Việt rất đẹp và dễ học."),
    "russian": "Привет, завтра встречаемся у Московского вокзала.",
    "greek": "Η Αθήνα είναι πρωτεύουσα· ο ΟΔΟΣΤΡΩΤΉΡΑΣ δουλεύει.",
    "chinese": "我们明天上午在北京大学图书馆见面讨论数据库设计。",
    "japanese": "東京都の天気予報によると、明日は雨が降るでしょう。ﾃﾞｰﾀﾍﾞｰｽを更新。",
    "korean": unicodedata.normalize("NFD", "내일 서울역에서 만나서 점심을 먹읍시다."),
    "thai": "พรุ่งนี้เราจะไปตลาดน้ำดำเนินสะดวกด้วยกัน",
    "thai_spaced": "ภาษา\u200bไทย\u200bเขียน\u200bติดกัน",
    "arabic": "سنلتقي غدا في مكتبة الجامعة الكبيرة.",
    "persian": "این را می\u200cخواهم بنویسم.",
    "hebrew": "ניפגש מחר בתחנת הרכבת המרכזית.",
    "hindi": "हम कल दिल्ली विश्वविद्यालय में मिलेंगे।",
    "wide": "Ｆｕｌｌ　ｗｉｄｔｈ　１２３ stays readable.",
    "ligature": "The eﬃcient ﬁle format ﬁts.",
    "lines": "A list of things\nthat go over\n\nmany lines.",
    "emoji": "Deploy is green 🚀 and I ❤️ it.",
    "hyphen": "A soft\u00adhyphen\u00adated word.",
    "table": "| name | 100_000 rows |",
}
DECOYS = [
    "anna, the post example is here: anna post example",
    "joanna@post.example is somebody else",
    "vendor test: the test of a vendor, vendor-test",
    "the myvendor.testing site",
    "12 4 1, 1.12.4, 112.4.10 and 12.41",
    "version 12.4.10 and 112.4.1",
    "C, c and C+, or C#: a language each. cc++c",
    "50 percent, 50 per cent, 150% and 50.5",
    "C: Temp logs 2024 app log; C:/Temp/logs-2024/app.log",
    "await the store, get a chat of the user id None",
    "3 99 or 4 50 per month, $13.990",
    "do not panic: don t panic",
    "issue 4711 and #47110",
    "groß, Strasse, uber, Fuss, Zurich",
    "cafe creme est deja pret a l'hotel",
    "hava güneş, çok sıcaktı",
    "Tieng Viet rat dep va de hoc",
    "привычка, завтрак, Москва, вокзалы",
    "Αθηναίος, πρωτεύων, οδός",
    "北京 大学 的 图书 和 馆, 数据 设计",
    "東京 都市 天気 と 予報, データとベース",
    "서울 역사, 내일모레 점심",
    "ตลาดนัด น้ำตก สะดวกซื้อ พรุ่ง",
    "مكتب الجامع الكبير غدا",
    "می خواندم و نوشتم",
    "תחנה, רכבות ומרכז",
    "दिल्ली का विश्व और विद्यालय",
    "full of width, 1 2 3",
    "efficiency of files, formats that fit",
    "a list of things; that go; over many lines",
    "rocket and heart",
    "hyphen, soft and a word",
    "100 000 rows, 100000 rows",
]
QUERIES = [
    ("anna@post.example", "mail"),
    ("ANNA@POST.EXAMPLE", "mail"),
    ("vendor.test", "host"),
    ("https://vendor.test/downloads", "host"),
    ("12.4.1", "version"),
    ("C++", "language"),
    ("50%", "percent"),
    (r"C:\Temp\logs_2024", "path"),
    ("get_chat(user_id=None)", "code"),
    ("$3.99", "price"),
    ("€4,50", "price"),
    ("don't panic", "quote"),
    ("#4711", "hash"),
    ("größe der straße", "german"),
    ("FUSSGÄNGER"[:2] + "ßGÄNGER", "german"),
    (unicodedata.normalize("NFD", "überrascht"), "german"),
    ("café crème", "french"),
    (unicodedata.normalize("NFC", "DÉJÀ"), "french"),
    ("güneşli", "turkish"),
    ("tiếng việt", "vietnamese"),
    ("ПРИВЕТ", "russian"),
    ("московского вокзала", "russian"),
    ("ΑΘΉΝΑ", "greek"),
    ("οδοστρωτήρας", "greek"),
    ("北京大学", "chinese"),
    ("图书馆", "chinese"),
    ("数据库", "chinese"),
    ("天気予報", "japanese"),
    ("雨", "japanese"),
    ("データベース", "japanese"),
    ("서울역", "korean"),
    (unicodedata.normalize("NFD", "점심을"), "korean"),
    ("ตลาดน้ำ", "thai"),
    ("ดำเนินสะดวก", "thai"),
    ("ภาษาไทย", "thai_spaced"),
    ("مكتبة الجامعة", "arabic"),
    ("می‌خواهم", "persian"),
    ("میخواهم", "persian"),
    ("הרכבת המרכזית", "hebrew"),
    ("विश्वविद्यालय", "hindi"),
    ("full width 123", "wide"),
    ("Ｃ＋＋", "language"),
    ("efficient file", "ligature"),
    ("things that go over many", "lines"),
    ("🚀", "emoji"),
    ("❤", "emoji"),
    ("softhyphenated", "hyphen"),
    ("100_000", "table"),
    ("|", "table"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(module_database_url: str, shared_store: object) -> AsyncIterator[dict[str, str]]:
    """A user with all messages, the decoys newer than what they imitate; yields names by id, and the user."""
    user_id = ids.new_id()
    message_ids = await write(module_database_url, user_id, [*MESSAGES.values(), *DECOYS])
    yield dict(zip(message_ids, MESSAGES, strict=False)) | {"user": user_id}


@pytest.mark.parametrize(("query", "name"), QUERIES)
async def test_what_a_message_holds_finds_it_first(
    store: Neighbour, library: dict[str, str], query: str, name: str
) -> None:
    found = await search(store, library["user"], query)
    assert [library.get(hit.message_id, hit.excerpt) for hit in found[:1]] == [name]


async def test_a_match_is_ranked_by_how_literal_it_is(store: Neighbour, module_database_url: str) -> None:
    user_id = ids.new_id()
    contents = [
        "go: a word, and as it is spelt",
        "Go: a word",
        "algorithm, as part of one, as it is spelt",
        "ALGORITHM, as part of one",
    ]
    expected = await write(module_database_url, user_id, contents)
    assert [hit.message_id for hit in await search(store, user_id, "go")] == expected
    both = await search(store, user_id, "spelt word")
    assert [hit.message_id for hit in both] == expected[:1], "each word, in any order"


async def test_the_end_of_a_long_message_is_found(store: Neighbour, module_database_url: str) -> None:
    user_id = ids.new_id()
    (message_id,) = await write(module_database_url, user_id, ["straw … \n\n" * 40_000 + "and the needle."])
    (hit,) = await search(store, user_id, "The NEEDLE")
    assert hit.message_id == message_id
    assert "the needle." in hit.excerpt


async def test_a_deleted_message_is_not_found(store: Neighbour) -> None:
    chat_id, user_id = await store.chat("deleter"), "deleter"
    await store.say(chat_id, "first", user_id=user_id)
    message_id = await store.say(chat_id, "something embarrassing", user_id=user_id)
    await eventually(lambda: found_some(store, user_id, "embarrassing"))
    await store.ask(rpc.DeleteMessage(user_id=user_id, chat_id=chat_id, message_id=message_id))
    assert await search(store, user_id, "embarrassing") == []


async def search(store: Neighbour, user_id: str, query: str) -> list[rpc.SearchHit]:
    return (await store.ask(rpc.Search(user_id=user_id, query=query))).items


async def found_some(store: Neighbour, user_id: str, query: str) -> bool:
    return bool(await search(store, user_id, query))


# --- what it may cost -------------------------------------------------------------------------------------------------

GREEDY = "lorem ipsum dolor sit amet "


@pytest.mark.parametrize("query", ["lorem", "ipsum dolor", "o"])
async def test_ten_greedy_searches_leave_room_for_another_user(
    store: Neighbour, module_database_url: str, query: str
) -> None:
    greedy, other = ids.new_id(), ids.new_id()
    long = GREEDY * (118_000 // len(GREEDY))
    await write(module_database_url, greedy, [f"{number} {long}" for number in range(40)])
    await write(module_database_url, other, ["a needle in little hay"])
    searching = asyncio.gather(*(outcome(store, greedy, query) for _ in range(10)))
    waits: list[float] = []
    while not searching.done() or len(waits) < 5:
        began = time.monotonic()
        await store.ask(rpc.ListChats(user_id=other), timeout=5)
        assert len(await search(store, other, "needle")) == 1
        waits.append(time.monotonic() - began)
    outcomes = await searching
    print(f"{query}: {outcomes}; the other user waited {max(waits):.3f} s at most in {len(waits)} rounds")
    # On a machine that is busy enough, the greedy ones run out of their time.
    assert set(outcomes) <= {"found", "too_many", "unavailable"}
    assert "too_many" in outcomes


async def outcome(store: Neighbour, user_id: str, query: str, search_id: str | None = None) -> str:
    try:
        request = rpc.Search(user_id=user_id, query=query, search_id=search_id)
        reply = await store.ask(request, timeout=30)
        return "found" if reply.items else "nothing"
    except RpcRefused as refused:
        return refused.code


@pytest_asyncio.fixture
async def locked(nats_url: str, database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A migrated database whose searches wait: somebody holds the table that they read."""
    done = await asyncio.to_thread(migrate, nats_url, database_url)
    assert done.returncode == 0, done.stderr
    connection = await asyncpg.connect(database_url)
    await connection.execute("BEGIN; LOCK TABLE members IN ACCESS EXCLUSIVE MODE")
    try:
        yield connection
    finally:
        await connection.close()


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%search_fold%'"


async def waiting(connection: asyncpg.Connection[asyncpg.Record], count: int) -> bool:
    # Within a transaction the view is as of its first use.
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return bool(await connection.fetchval(_WAITING) == count)


async def test_a_search_that_takes_long_is_ended_and_says_so(
    start_store: StartStore, neighbour: Neighbour, locked: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with start_store(SEARCH_TIMEOUT="0.5"):
        with pytest.raises(RpcRefused, match=r"took longer than 0\.5 s") as refused:
            await neighbour.ask(rpc.Search(user_id="ann", query="x"))
        assert refused.value.code == "unavailable"
        await eventually(lambda: waiting(locked, 0))


async def test_a_search_is_cancelled_with_its_statement(
    start_store: StartStore, neighbour: Neighbour, locked: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with start_store(SEARCH_TIMEOUT="60"):
        searching = asyncio.create_task(outcome(neighbour, "ann", "x", search_id="one"))
        await eventually(lambda: waiting(locked, 1))
        await neighbour.nc.publish(subjects.ctl_search_cancel("another"), msgspec.json.encode(rpc.CancelSearch()))
        await neighbour.nc.publish(subjects.ctl_search_cancel("one"), msgspec.json.encode(rpc.CancelSearch()))
        assert await asyncio.wait_for(searching, 10) == "too_many"
        await eventually(lambda: waiting(locked, 0))


async def test_one_user_has_one_search_at_a_time_and_few_that_wait(
    start_store: StartStore, neighbour: Neighbour, locked: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with start_store(SEARCH_TIMEOUT="60", SEARCH_POOL_SIZE="2"):
        anns = [asyncio.create_task(outcome(neighbour, "ann", "x")) for _ in range(10)]
        bobs = asyncio.create_task(outcome(neighbour, "bob", "x"))
        await eventually(lambda: sum(task.done() for task in anns) == 6)
        await eventually(lambda: waiting(locked, 2))
        await locked.execute("ROLLBACK")
        assert sorted(await asyncio.gather(*anns)) == ["nothing"] * 4 + ["too_many"] * 6
        assert await bobs == "nothing"


async def test_searches_of_many_users_wait_for_each_other_and_for_nobody_else(
    start_store: StartStore, neighbour: Neighbour, locked: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with start_store(SEARCH_TIMEOUT="1", SEARCH_POOL_SIZE="1", DATABASE_POOL_SIZE="2"):
        others = [asyncio.create_task(outcome(neighbour, f"user{number}", "x")) for number in range(20)]
        assert set(await asyncio.gather(*others)) == {"unavailable"}
        usage = await neighbour.ask(rpc.GetUsage(user_id="ann"))
        assert usage.items == []
