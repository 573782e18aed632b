"""The proxy: relays each connection to the broker and does to requests what its rules say.

Used from a thread that is not its own: `rule`, `freeze`, `calm`, and the counters may be called from
anywhere; everything else runs in the proxy's event loop.

What a rule may do with a request (`action`):
  hold   keeps it, and whatever is behind it, for some seconds
  late   hangs up on the client, and gives the request to the broker some seconds later
  lost   says nothing until the client hangs up by itself, and gives it to the broker some seconds later
  twice  gives it to the broker two times in a row; one answer
  mute   gives it to the broker, and hangs up instead of answering
  reset  resets the connection without giving it to the broker
  hole   stops the connection in both directions for some seconds
  slow   1 KB/s in both directions for some seconds
  park   hands it to the test, which decides: see Parked
A broker handles the requests of a connection one by one, so the order on it is kept, also when late.
"""
import asyncio
import collections
import concurrent.futures
import queue
import random
import socket
import struct
import threading

from .frames import ANSWER_AT, REQUEST_AT, Request, correlation_of, error_name, error_of, readdressed

SLOW_BYTES, SLOW_STEP = 1024, 0.1  # a second; how often
COPY = 0x40000000  # correlation ids of copies start here, far above those of clients
ANSWER_SECONDS = 30  # how long an answer that nobody waits for is listened to


class Rule:
    """Which requests, and what happens to them."""

    def __init__(self, action, apis, chance, times, skip, who, seconds, when):
        self.action, self.apis, self.chance, self.times, self.skip = action, apis, chance, times, skip
        self.who, self.seconds, self.when = who, seconds, when
        self.parked = queue.Queue()

    def takes(self, request, rnd):
        if self.times == 0 or request.api not in self.apis or (self.who and not request.is_of(self.who)):
            return False
        if self.when and not self.when(request):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.chance < 1 and rnd.random() >= self.chance:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def cancel(self):
        self.times = 0

    def wait(self, timeout):
        """park: the next request that the rule took; queue.Empty when there is none in time."""
        return self.parked.get(timeout=timeout)


class Parked:
    """A request that waits for the test. Exactly one of `go` and `hang_up` must follow; after
    `hang_up` the request is the test's: `deliver` gives it to the broker."""

    def __init__(self, link, request, loop):
        self.link, self.request, self.loop = link, request, loop
        self.decision = loop.create_future()
        self.answered = concurrent.futures.Future()

    def _decide(self, what):
        self.loop.call_soon_threadsafe(lambda: self.decision.done() or self.decision.set_result(what))

    def go(self, timeout=ANSWER_SECONDS):
        """On its way as if nothing had been. Returns what the broker answered, as deliver does."""
        self._decide("go")
        return self.answered.result(timeout)

    def hang_up(self):
        self._decide("hang up")

    def deliver(self, timeout=ANSWER_SECONDS):
        """Returns the name of the answer's error; "taken" when it has none."""
        future = asyncio.run_coroutine_threadsafe(self.link.deliver([self.request]), self.loop)
        return future.result(timeout)[0]


class Link:
    """One client's connection and the proxy's own to the broker."""

    def __init__(self, proxy, client, back):
        self.proxy, self.client, self.back = proxy, client, back
        self.broker = self.forth = None
        self.waiting = {}  # correlation id -> (request, future of the error or None, for the client)
        self.muted = set()
        self.late = 0  # deliveries that keep the upstream connection
        self.dead = False  # the upstream connection
        self.thaw = 0.0  # nothing passes until then
        self.slow_until = 0.0
        self.copies = COPY

    async def run(self):
        try:
            self.broker, self.forth = await asyncio.open_connection(*self.proxy.upstream)
            nodelay(self.forth)
        except OSError:
            self.back.close()
            return
        answers = asyncio.ensure_future(self.relay_answers())
        try:
            await self.relay_requests()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.back.close()
            if not self.late:
                self.forth.close()
            await asyncio.gather(answers, return_exceptions=True)
            self.forth.close()

    async def relay_requests(self):
        while True:
            frame = await read_frame(self.client)
            request = Request(frame)
            self.proxy.asked[request.api, request.transaction] += 1
            rule = self.proxy.rule_for(request)
            if rule:
                self.proxy.did(rule.action, request)
                if not await getattr(self, "do_" + rule.action)(rule, request):
                    return
            else:
                await self.forward(request)

    async def relay_answers(self):
        try:
            while True:
                answer = await read_frame(self.broker)
                request, future, told = self.waiting.pop(correlation_of(answer, ANSWER_AT), (None, None, True))
                error = error_name(error_of(request, answer)) if request else "unknown"
                if request:
                    self.proxy.answered[request.api, request.transaction] += 1
                if future and not future.done():
                    future.set_result(error)
                if not told or self.back.is_closing():
                    continue  # a copy's, or nobody is there any more
                if request and request.correlation in self.muted:
                    self.back.close()
                    continue
                if request:
                    answer = readdressed(request, answer, self.proxy.upstream[1], self.proxy.port)
                await self.write(self.back, answer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.dead = True
            self.back.close()
            for _, future, _ in self.waiting.values():
                if future and not future.done():
                    future.set_result("no answer")

    async def forward(self, request, future=None, frame=None, told=True):
        frame = frame or request.frame
        if self.dead:
            raise ConnectionError("the broker is gone")
        self.waiting[correlation_of(frame, REQUEST_AT)] = (request, future, told)
        await self.write(self.forth, frame)

    async def write(self, writer, frame):
        loop = asyncio.get_running_loop()
        while max(self.thaw, self.proxy.thaw) > loop.time():
            await asyncio.sleep(max(self.thaw, self.proxy.thaw) - loop.time())
        data = struct.pack(">i", len(frame)) + frame
        while data and self.slow_until > loop.time():
            part = int(SLOW_BYTES * SLOW_STEP)
            writer.write(data[:part])
            data = data[part:]
            await writer.drain()
            await asyncio.sleep(SLOW_STEP)
        if data:
            writer.write(data)
            await writer.drain()

    async def deliver(self, requests):
        """To the broker, one after the other, whether the client is there or not; answers' errors."""
        errors = []
        loop = asyncio.get_running_loop()
        try:
            for request in requests:
                future = loop.create_future()
                try:
                    await self.forward(request, future, told=False)
                    errors.append(await asyncio.wait_for(future, ANSWER_SECONDS))
                except (OSError, asyncio.TimeoutError):
                    errors.append("no answer")
                self.proxy.arrived_late(request, errors[-1])
        finally:
            self.late -= 1
            if not self.late and self.back.is_closing():
                self.forth.close()
        return errors

    async def deliver_after(self, seconds, requests):
        await asyncio.sleep(seconds)
        await self.deliver(requests)

    def later(self, seconds, requests):
        self.late += 1
        self.proxy.spawn(self.deliver_after(seconds, requests))

    # --- actions: return whether the connection goes on -------------------------------------------

    async def do_hold(self, rule, request):
        await asyncio.sleep(self.proxy.seconds_of(rule))
        if self.client.at_eof() or self.client.exception() or self.back.is_closing():
            self.later(0, [request])
            return False
        await self.forward(request)
        return True

    async def do_late(self, rule, request):
        self.later(self.proxy.seconds_of(rule), [request])
        self.back.close()
        return False

    async def do_lost(self, rule, request):
        requests = [request]
        self.late += 1
        try:
            while True:
                requests.append(Request(await read_frame(self.client)))
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.late -= 1
        self.later(self.proxy.seconds_of(rule), requests)
        return False

    async def do_twice(self, rule, request):
        self.copies += 1
        await self.forward(request)
        await self.forward(request, frame=request.renumbered(self.copies), told=False)
        return True

    async def do_mute(self, rule, request):
        self.muted.add(request.correlation)
        await self.forward(request)
        return True

    async def do_reset(self, rule, request):
        self.back.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.back.transport.abort()
        return False

    async def do_hole(self, rule, request):
        self.thaw = asyncio.get_running_loop().time() + self.proxy.seconds_of(rule)
        await self.forward(request)
        return True

    async def do_slow(self, rule, request):
        self.slow_until = asyncio.get_running_loop().time() + self.proxy.seconds_of(rule)
        await self.forward(request)
        return True

    async def do_park(self, rule, request):
        parked = Parked(self, request, asyncio.get_running_loop())
        rule.parked.put(parked)
        self.late += 1
        if await parked.decision == "go":
            self.late -= 1
            await self.forward(request, parked.answered)
            return True
        self.back.close()
        return False


class Proxy:
    """Listens on 127.0.0.1:port, and relays to the one broker on broker_port."""

    def __init__(self, port, broker_port, seed=0):
        self.port, self.upstream = port, ("127.0.0.1", broker_port)
        self.random = random.Random(f"proxy {seed}")
        self.rules = []
        self.asked = collections.Counter()  # (api, transactional id or None)
        self.answered = collections.Counter()
        self.done = collections.Counter()  # (action, api)
        self.late = collections.Counter()  # (api, answer's error): delivered after the client was gone
        self.thaw = 0.0
        self.tasks = set()
        self.loop = self.server = None
        self.thread = threading.Thread(target=self._serve, name="proxy", daemon=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # --- what a test calls ------------------------------------------------------------------------

    def start(self):
        ready = concurrent.futures.Future()
        self.thread.start_with = ready
        self.thread.start()
        ready.result(10)
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def rule(self, action, *apis, chance=1, times=None, skip=0, who=None, seconds=(0, 0), when=None):
        """chance: of each; times: at most so often; skip: not the first so many; who: part of client
        id, transactional id or group; seconds: drawn evenly from a range; when: a predicate of Request."""
        if not hasattr(Link, "do_" + action):
            raise ValueError(action)
        rule = Rule(action, apis, chance, times, skip, who, seconds, when)
        self.rules = [*self.rules, rule]
        return rule

    def calm(self):
        """No rule any more; what is under way ends as it was to."""
        self.rules = []

    def freeze(self, seconds):
        """Nothing passes on any connection: a black hole for everyone."""
        self.thaw = self.loop.time() + seconds

    def cut_all(self):
        """Every connection breaks at once."""
        self.loop.call_soon_threadsafe(lambda: [link.back.transport.abort() for link in list(self.links)])

    # --- in the loop ------------------------------------------------------------------------------

    def rule_for(self, request):
        return next((rule for rule in self.rules if rule.takes(request, self.random)), None)

    def seconds_of(self, rule):
        return self.random.uniform(*rule.seconds)

    def did(self, action, request):
        self.done[action, request.api] += 1

    def arrived_late(self, request, error):
        self.late[request.api, error] += 1

    def spawn(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _accept(self, reader, writer):
        nodelay(writer)
        link = Link(self, reader, writer)
        self.links.add(link)
        try:
            await link.run()
        except asyncio.CancelledError:
            pass  # the proxy stops
        finally:
            self.links.discard(link)

    def _serve(self):
        self.links = set()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        try:
            self.server = self.loop.run_until_complete(
                asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 20))
        except OSError as error:
            self.thread.start_with.set_exception(error)
            return
        self.thread.start_with.set_result(None)
        self.loop.run_forever()
        self.server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self.loop), return_exceptions=True))
        self.loop.close()


def nodelay(writer):
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def read_frame(reader):
    size, = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)
