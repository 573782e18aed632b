/* connectors/redis_script.c - see redis_script.h.
 * Invariants
 *  (1) Called without keys a script does nothing: so it can be loaded by EVAL, and the user needs
 *      no right to SCRIPT.
 *  (2) Numbers that are compared are below 2^53, exact in Lua: offsets, versions, microseconds.
 *  (3) An epoch and a generation are larger than all before, also after all keys were lost: the
 *      clock is their floor. */
#include "connectors/redis_script.h"

#define COMMAND_MAX (64 * 1024)

#define HEAD "if #KEYS == 0 then return '' end\n"

/* Microseconds, and the next number of a series that never goes back. */
#define CLOCK                                                                    \
    "local time = redis.call('TIME')\n"                                          \
    "local now = time[1] * 1000000 + time[2]\n"                                  \
    "local function after(last)\n"                                               \
    "  return string.format('%.0f', math.max(now, (tonumber(last) or 0) + 1))\n" \
    "end\n"

/* Readers have to read everything again. */
#define RESET                                                                       \
    "local function reset(base)\n"                                                  \
    "  for _, family in ipairs({'product', 'slug', 'level', 'sku'}) do\n"           \
    "    redis.call('PUBLISH', base .. 'changes:' .. family, '{\"reset\":true}')\n" \
    "  end\n"                                                                       \
    "end\n"

/* After a position moved to `at`: the goal may be reached, and what is read is as far. Returns the
 * phase. A goal that is reached makes a partition readable, but for one of a rebuild: there the
 * keys are not the ones that are read, and the last partition begins to sweep. */
#define SETTLE                                                                                     \
    RESET                                                                                          \
    "local function settle(base, control, members, key, run, phase, goal, at)\n"                   \
    "  if goal and tonumber(at) >= tonumber(goal) then\n"                                          \
    "    redis.call('HDEL', key, 'goal')\n"                                                        \
    "    goal = false\n"                                                                           \
    "    if phase == '' then\n"                                                                    \
    "      redis.call('HSET', key, 'run', run)\n"                                                  \
    "      reset(base)\n"                                                                          \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  if goal then return phase end\n"                                                            \
    "  if phase == '' then\n"                                                                      \
    "    local d = redis.call('HMGET', key, 'command', 'as_of')\n"                                 \
    "    redis.call('HSET', key, 'complete', at, 'complete_command', d[1] or '-1',\n"              \
    "        'complete_as_of', d[2] or '0')\n"                                                     \
    "  elseif phase == 'building' then\n"                                                          \
    "    for _, name in ipairs(redis.call('SMEMBERS', members)) do\n"                              \
    "      if redis.call('HEXISTS', base .. 'sink:' .. name, 'goal') == 1 then return phase end\n" \
    "    end\n"                                                                                    \
    "    phase = 'sweeping'\n"                                                                     \
    "    redis.call('HSET', control, 'phase', phase)\n"                                            \
    "  end\n"                                                                                      \
    "  return phase\n"                                                                             \
    "end\n"

/* KEYS control, members, partition. ARGV base, name, run, end, known position, its generation. */
static const char open_text[] = HEAD CLOCK SETTLE
        "local base, name, run = ARGV[1], ARGV[2], ARGV[3]\n"
        "local last, known = tonumber(ARGV[4]), tonumber(ARGV[5])\n"
        "local c = redis.call('HMGET', KEYS[1], 'generation', 'phase')\n"
        "local generation, phase = c[1], c[2] or ''\n"
        "if not generation then\n"
        "  generation, phase = after(0), ''\n"
        "  redis.call('HSET', KEYS[1], 'generation', generation, 'phase', phase)\n"
        "end\n"
        "redis.call('SADD', KEYS[2], name)\n"
        "local s = redis.call('HMGET', KEYS[3], 'epoch', 'position', 'run', 'goal', 'complete',\n"
        "    'generation')\n"
        "local epoch, position, goal = after(s[1]), s[2], s[4]\n"
        "local readable = s[3] == run\n"
        "if s[6] ~= generation then\n"
        "  position, goal, readable = false, false, false\n"
        "  redis.call('HDEL', KEYS[3], 'position', 'command', 'as_of')\n"
        "end\n"
        "if ARGV[6] ~= generation then known = -1 end\n"
        "if (tonumber(position) or 0) < known and position then readable = false end\n"
        "if not readable or goal then\n"
        "  goal = string.format('%.0f', math.max(0, last, known, tonumber(s[5]) or 0,\n"
        "      tonumber(goal) or 0))\n"
        "  redis.call('HSET', KEYS[3], 'goal', goal)\n"
        "end\n"
        "redis.call('HSET', KEYS[3], 'epoch', epoch, 'generation', generation, 'step', 0,\n"
        "    'run', readable and run or '', 'opened', run)\n"
        "phase = settle(base, KEYS[1], KEYS[2], KEYS[3], run, phase, goal, position or '0')\n"
        "return {epoch, position or '', generation, phase}\n";

/* KEYS control, members, partition, row keys. ARGV base, epoch, run, position, step, next position
 * ('': more follows), command, as of ('': as before), name in JSON; then of each row its kind,
 * warehouse, version, offset, value. */
static const char write_text[] = HEAD SETTLE
        "local base, epoch, run, to = ARGV[1], ARGV[2], ARGV[3], ARGV[6]\n"
        "local c = redis.call('HMGET', KEYS[1], 'generation', 'phase')\n"
        "local s = redis.call('HMGET', KEYS[3], 'epoch', 'position', 'step', 'goal',\n"
        "    'generation')\n"
        "if not c[1] or not s[1] or s[5] ~= c[1] and s[1] == epoch then\n"
        "  return redis.error_reply('TALLYLOST ' .. KEYS[3])\n"
        "end\n"
        "if s[1] ~= epoch then return redis.error_reply('TALLYFENCED ' .. KEYS[3]) end\n"
        "if (s[2] or '') ~= ARGV[4] or s[3] ~= ARGV[5] then\n"
        "  return redis.error_reply('TALLYSTEP ' .. KEYS[3])\n"
        "end\n"
        "local generation, phase, goal = c[1], c[2], s[4]\n"
        "local quiet = goal or (phase ~= '' and phase ~= 'adopting')\n"
        "local function place(key)\n"
        "  if phase == '' then return key end\n"
        "  local new = base .. 'new:' .. generation .. ':' .. string.sub(key, #base + 1)\n"
        "  if phase ~= 'adopting' then return new end\n"
        "  if redis.call('EXISTS', new) == 1 then redis.call('RENAME', new, key) end\n"
        "  return key\n"
        "end\n"
        "local function older(old, pattern, version)\n"
        "  return not old or (tonumber(string.match(old, pattern)) or 0) < tonumber(version)\n"
        "end\n"
        "local in_level = '^{\"sku\":\"[^\"]*\",\"warehouse\":\"[^\"]*\",\"version\":(%d+)'\n"
        "local in_tail = '.*\"version\":(%d+)'\n"
        "local a = 10\n"
        "for i = 4, #KEYS do\n"
        "  local kind, warehouse, version, value = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 4]\n"
        "  local key, changed = place(KEYS[i]), false\n"
        "  if kind == 'claim' then\n"
        "    changed = redis.call('GET', key) ~= value\n"
        "    redis.call('SET', key, value)\n"
        "  elseif kind == 'release' then\n"
        "    changed = redis.call('DEL', key) == 1\n"
        "  elseif kind == 'level' or kind == 'setting' then\n"
        "    local old = redis.call('HGET', key, warehouse)\n"
        "    if older(old, in_level, version) then\n"
        "      changed = true\n"
        "      local kept = kind == 'level' and old and\n"
        "          string.match(old, '\"policy\":.-,\"updated_at\"')\n"
        "      if kept then\n"
        "        local from = string.find(value, '\"policy\":', 1, true)\n"
        "        local till = string.find(value, ',\"updated_at\"', from, true)\n"
        "        value = string.sub(value, 1, from - 1) .. kept .. string.sub(value, till + 13)\n"
        "      end\n"
        "      redis.call('HSET', key, warehouse, value)\n"
        "    end\n"
        "  else\n"
        "    local old = redis.call('GET', key)\n"
        "    if older(old and string.sub(old, -160), in_tail, version) then\n"
        "      changed = true\n"
        "      redis.call('SET', key, value)\n"
        "    end\n"
        "  end\n"
        "  if changed and not quiet then\n"
        "    local family, id = string.match(string.sub(KEYS[i], #base + 1), '^(%a+):(.*)$')\n"
        "    redis.call('PUBLISH', base .. 'changes:' .. family, '{' .. ARGV[9] .. ',\"offset\":' "
        "..\n"
        "        ARGV[a + 3] .. ',\"key\":\"' .. id .. '\"' ..\n"
        "        (warehouse ~= '' and ',\"warehouse\":\"' .. warehouse .. '\"' or '') ..\n"
        "        (version ~= '' and ',\"version\":' .. version or '') .. '}')\n"
        "  end\n"
        "  a = a + 5\n"
        "end\n"
        "if to == '' then\n"
        "  redis.call('HSET', KEYS[3], 'step', ARGV[5] + 1)\n"
        "  return phase\n"
        "end\n"
        "redis.call('HSET', KEYS[3], 'position', to, 'step', 0)\n"
        "if ARGV[7] ~= '' then redis.call('HSET', KEYS[3], 'command', ARGV[7]) end\n"
        "if ARGV[8] ~= '' then redis.call('HSET', KEYS[3], 'as_of', ARGV[8]) end\n"
        "return settle(base, KEYS[1], KEYS[2], KEYS[3], run, phase, goal, to)\n";

/* KEYS control, members. ARGV base. What is read stays as far as it is: that is the goal. */
static const char rebuild_text[] = HEAD CLOCK
        "local names = redis.call('SMEMBERS', KEYS[2])\n"
        "local generation = after(redis.call('HGET', KEYS[1], 'generation'))\n"
        "redis.call('HSET', KEYS[1], 'generation', generation,\n"
        "    'phase', #names > 0 and 'building' or '')\n"
        "for _, name in ipairs(names) do\n"
        "  local key = ARGV[1] .. 'sink:' .. name\n"
        "  local s = redis.call('HMGET', key, 'epoch', 'complete', 'goal')\n"
        "  redis.call('HDEL', key, 'position', 'command', 'as_of')\n"
        "  redis.call('HSET', key, 'epoch', after(s[1]), 'generation', generation, 'step', 0,\n"
        "      'goal', string.format('%.0f', math.max(tonumber(s[2]) or 0, tonumber(s[3]) or 0)))\n"
        "end\n"
        "return generation\n";

/* KEYS control, live keys. ARGV base, generation. -1: it is not the time any more. */
static const char sweep_text[] =
        HEAD "local c = redis.call('HMGET', KEYS[1], 'generation', 'phase')\n"
             "if c[1] ~= ARGV[2] or c[2] ~= 'sweeping' then return -1 end\n"
             "local removed = 0\n"
             "for i = 2, #KEYS do\n"
             "  local new = ARGV[1] .. 'new:' .. c[1] .. ':' .. string.sub(KEYS[i], #ARGV[1] + 1)\n"
             "  if redis.call('EXISTS', new) == 0 then\n"
             "    removed = removed + redis.call('UNLINK', KEYS[i])\n"
             "  end\n"
             "end\n"
             "return removed\n";

/* KEYS control, new keys. ARGV base, generation. Those of an older rebuild go. */
static const char adopt_text[] =
        HEAD "local c = redis.call('HMGET', KEYS[1], 'generation', 'phase')\n"
             "if c[1] ~= ARGV[2] or c[2] ~= 'adopting' then return -1 end\n"
             "local start = ARGV[1] .. 'new:' .. c[1] .. ':'\n"
             "for i = 2, #KEYS do\n"
             "  if string.sub(KEYS[i], 1, #start) ~= start then\n"
             "    redis.call('UNLINK', KEYS[i])\n"
             "  elseif redis.call('EXISTS', KEYS[i]) == 1 then\n"
             "    redis.call('RENAME', KEYS[i], ARGV[1] .. string.sub(KEYS[i], #start + 1))\n"
             "  end\n"
             "end\n"
             "return #KEYS - 1\n";

/* KEYS control, members. ARGV base, generation, from, to, run. A partition that was opened on
 * another run of the server is left to who opens it. */
static const char advance_text[] = HEAD RESET
        "local c = redis.call('HMGET', KEYS[1], 'generation', 'phase')\n"
        "if c[1] ~= ARGV[2] or c[2] ~= ARGV[3] then return -1 end\n"
        "redis.call('HSET', KEYS[1], 'phase', ARGV[4])\n"
        "if ARGV[4] ~= '' then return 0 end\n"
        "for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do\n"
        "  local key = ARGV[1] .. 'sink:' .. name\n"
        "  local s = redis.call('HMGET', key, 'position', 'goal', 'opened', 'command', 'as_of')\n"
        "  if s[1] and not s[2] and s[3] == ARGV[5] then\n"
        "    redis.call('HSET', key, 'run', ARGV[5], 'complete', s[1], 'complete_command',\n"
        "        s[4] or '-1', 'complete_as_of', s[5] or '0')\n"
        "  end\n"
        "end\n"
        "reset(ARGV[1])\n"
        "return 0\n";

/* KEYS value, partition. ARGV type. */
static const char read_text[] =
        HEAD "local s = redis.call('HMGET', KEYS[2], 'run', 'complete', 'complete_command',\n"
             "    'complete_as_of')\n"
             "local value\n"
             "if ARGV[1] == 'hash' then\n"
             "  value = redis.call('HGETALL', KEYS[1])\n"
             "else\n"
             "  value = redis.call('GET', KEYS[1])\n"
             "end\n"
             "return {s[1], s[2], s[3], s[4], value}\n";

/* KEYS lock, fence, control, partition, value. ARGV token, ms, run. 0: it is taken, or there is
 * nothing to fill, or nothing may be filled; else the fence. */
static const char lock_text[] = HEAD CLOCK
        "if redis.call('HGET', KEYS[3], 'phase') ~= '' or\n"
        "    redis.call('HGET', KEYS[4], 'run') ~= ARGV[3] or\n"
        "    redis.call('EXISTS', KEYS[5]) == 1 then\n"
        "  return '0'\n"
        "end\n"
        "if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return '0' end\n"
        "local fence = after(redis.call('GET', KEYS[2]))\n"
        "redis.call('SET', KEYS[2], fence)\n"
        "return fence\n";

/* KEYS lock. ARGV token. */
static const char unlock_text[] =
        HEAD "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
             "return redis.call('DEL', KEYS[1])\n";

/* KEYS lock, value, control, partition. ARGV token, version, value, run. */
static const char fill_text[] =
        HEAD "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
             "redis.call('DEL', KEYS[1])\n"
             "if redis.call('HGET', KEYS[3], 'phase') ~= '' or\n"
             "    redis.call('HGET', KEYS[4], 'run') ~= ARGV[4] then\n"
             "  return 0\n"
             "end\n"
             "local old = redis.call('GET', KEYS[2])\n"
             "local version = old and\n"
             "    tonumber(string.match(string.sub(old, -160), '.*\"version\":(%d+)')) or -1\n"
             "if version >= tonumber(ARGV[2]) then return 0 end\n"
             "redis.call('SET', KEYS[2], ARGV[3])\n"
             "return 1\n";

/* KEYS log. ARGV quota, window in ms. Entries are the microseconds of requests; a second one in the
 * same gets the next free number. */
static const char limit_text[] = HEAD CLOCK
        "local quota, window = tonumber(ARGV[1]), ARGV[2] * 1000\n"
        "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - window))\n"
        "local count, allowed = redis.call('ZCARD', KEYS[1]), 0\n"
        "if count < quota then\n"
        "  local member = now\n"
        "  while redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now),\n"
        "      string.format('%.0f', member)) == 0 do\n"
        "    member = member + 1\n"
        "  end\n"
        "  redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
        "  count, allowed = count + 1, 1\n"
        "end\n"
        "local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
        "local left = oldest[2] and math.ceil((oldest[2] + window - now) / 1000) or 0\n"
        "return {allowed, math.max(0, quota - count), left}\n";

static const char *const texts[REDIS_SCRIPTS] = {
        [REDIS_SCRIPT_OPEN] = open_text,
        [REDIS_SCRIPT_WRITE] = write_text,
        [REDIS_SCRIPT_REBUILD] = rebuild_text,
        [REDIS_SCRIPT_SWEEP] = sweep_text,
        [REDIS_SCRIPT_ADOPT] = adopt_text,
        [REDIS_SCRIPT_ADVANCE] = advance_text,
        [REDIS_SCRIPT_READ] = read_text,
        [REDIS_SCRIPT_LOCK] = lock_text,
        [REDIS_SCRIPT_UNLOCK] = unlock_text,
        [REDIS_SCRIPT_FILL] = fill_text,
        [REDIS_SCRIPT_LIMIT] = limit_text,
};
_Static_assert((int)REDIS_SCRIPTS <= (int)REDIS_CONNECTION_SCRIPTS, "a connection names them all");

enum tally_code redis_script_prepare(struct redis_connection *connection, struct tally_error *err)
{
    static const char sum[] = "local names = {}\n"
                              "for i = 1, #ARGV do names[i] = redis.sha1hex(ARGV[i]) end\n"
                              "return names\n";
    struct tally_buf command;
    redisReply *reply;
    enum tally_code code;

    tally_buf_init(&command, COMMAND_MAX);
    redis_connection_begin(&command, 3 + REDIS_SCRIPTS);
    redis_connection_text(&command, "EVAL");
    redis_connection_text(&command, sum);
    redis_connection_int(&command, 0);
    for (size_t i = 0; i < REDIS_SCRIPTS; i++) {
        redis_connection_text(&command, texts[i]);
    }
    code = redis_connection_call(connection, tally_buf_bytes(&command), &reply, err);
    tally_buf_deinit(&command);
    for (size_t i = 0; i < REDIS_SCRIPTS && !code; i++) {
        struct tally_slice sha = redis_connection_element(reply, i);

        if (sha.len != REDIS_CONNECTION_SHA_LEN) {
            code = tally_error_set(err, TALLY_SINK_SCHEMA, "redis does not name scripts as 7.0");
            break;
        }
        memcpy(connection->sha[i], sha.data, sha.len);
    }
    freeReplyObject(reply);
    return code;
}

void redis_script_begin(const struct redis_connection *connection, enum redis_script_id id,
        struct tally_buf *command, size_t keys, size_t arguments)
{
    redis_connection_begin(command, 3 + keys + arguments);
    redis_connection_text(command, "EVALSHA");
    redis_connection_text(command, connection->sha[id]);
    redis_connection_int(command, (int64_t)keys);
}

/* Sends the script itself, which then does nothing. */
static enum tally_code load(struct redis_connection *connection, enum redis_script_id id,
        struct tally_error *err)
{
    struct tally_buf command;
    redisReply *reply;
    enum tally_code code;

    tally_buf_init(&command, COMMAND_MAX);
    redis_connection_begin(&command, 3);
    redis_connection_text(&command, "EVAL");
    redis_connection_text(&command, texts[id]);
    redis_connection_int(&command, 0);
    code = redis_connection_call(connection, tally_buf_bytes(&command), &reply, err);
    freeReplyObject(reply);
    tally_buf_deinit(&command);
    return code;
}

enum tally_code redis_script_call(struct redis_connection *connection, enum redis_script_id id,
        struct tally_slice command, redisReply **reply, struct tally_error *err)
{
    enum tally_code code = redis_connection_call(connection, command, reply, err);

    if (code == TALLY_AGAIN) {
        code = load(connection, id, err);
        code = code ? code : redis_connection_call(connection, command, reply, err);
    }
    if (code == TALLY_AGAIN) {
        code = tally_error_set(err, TALLY_UNAVAILABLE, "redis forgets scripts at once");
    }
    return code;
}
