/**
 * What the Redis store has the server do: one script an operation, so that nothing can come between its steps.
 *
 *     claimcheck:{TENANT}:handle:JTI       hash    a handle; `by:TAKER` counts the uses that each taker took
 *     claimcheck:{TENANT}:value:ID         string  a sealed value, as long as the last of its handles
 *     claimcheck:{TENANT}:redemption:ID    hash    request, attempt, repeated; `back:ATTEMPT` of those that were given back
 *     claimcheck:{TENANT}:revocations      hash    epoch, number, longest, and for each mark "NUMBER UNTIL ATTEMPT"
 *     claimcheck:proof:JTI                 string  the attempt that brought it
 *
 * All keys of a script lie in one slot of a cluster and are named in KEYS, but for those of values, which the handles
 * name. Everything expires by itself.
 *
 * A script may be sent twice, and a server that was stuck may run the first one late: on a connection that was given up,
 * after others had their turn. So what is no use of its own names its attempt, and finds what that attempt did before.
 *
 * A handle counts only in the `life` of the server's memory in which it was put. Otherwise a server that lost its
 * last writes would bring spent handles back: the process that was killed and restarted has another run id, and a
 * replica that took over, or a server that was filled from another one, another replication id. (That changes too
 * when the first replica joins and an hour after the last one left: open handles are void then, which is safe.)
 * The epoch of the tenant's revocations is part of it: a server that forgot which handles are revoked, because it evicts
 * or somebody deleted the key, has forgotten all handles that were put before.
 */
import type { OpenHandle } from "./store.ts";

/** What a script is sent of each handle and answers, in this order, with how it is read. The handle's key names the others. */
export const fields = {
  subject: String,
  run: String,
  uri: String,
  marks: String,
  uses: Number,
  expires: Number,
  mac: String,
  value: String,
  size: Number,
} as const satisfies Record<Exclude<keyof OpenHandle, "tenant" | "jti" | "sealed">, unknown>;

export const fieldNames = Object.keys(fields) as (keyof typeof fields)[];

const luaNames = fieldNames.map((name) => `'${name}'`).join(", ");

/** Begins every script: a server that is no primary has not heard of the last takes and revocations. */
const onPrimary = `
local replication = redis.call('INFO', 'replication')
if string.match(replication, 'role:(%a+)') ~= 'master' then
  return redis.error_reply('READONLY this server is no primary')
end
`;

const shared = `${onPrimary}
-- Without an epoch no handle is open, because none has a life that is empty.
local function life(revocations)
  local epoch = redis.call('HGET', revocations, 'epoch')
  return epoch and string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
    .. string.match(replication, 'master_replid:(%x+)') .. epoch or ''
end

-- Whether a handle is open: of this life of the server, and put after the last revocation that names it.
local function is_open(key, revocations, life)
  local handle = redis.call('HMGET', key, 'life', 'born', 'subject', 'run')
  if handle[1] ~= life then return false end
  local marks = redis.call('HMGET', revocations, 'all', 'subject:' .. handle[3], 'run:' .. (handle[4] or ''))
  for nth = 1, handle[4] and 3 or 2 do
    if marks[nth] and tonumber(string.match(marks[nth], '^%d+')) > tonumber(handle[2]) then return false end
  end
  return true
end

local function read(key, ...)
  return redis.call('HMGET', key, ${luaNames}, ...)
end

local function value_of(revocations, id)
  return string.gsub(revocations, 'revocations$', '') .. 'value:' .. id
end
`;

/**
 * KEYS: revocations, handles. ARGV: attempt; how many values; for each its id, expires, sealed; for each handle its fields,
 * "" for one that it does not have, else "=" and it. A handle that is there stays as it is, also one that was revoked by
 * its id.
 */
export const put = `${shared}
local time = redis.call('TIME')
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1] .. time[1] .. time[2])
local life = life(KEYS[1])
local born = redis.call('HGET', KEYS[1], 'number') or '0'
local longest = tonumber(redis.call('HGET', KEYS[1], 'longest') or '0')
local values = tonumber(ARGV[2])
for nth = 1, values do
  local at = nth * 3
  redis.call('SET', value_of(KEYS[1], ARGV[at]), ARGV[at + 2], 'EXAT', ARGV[at + 1])
end
local names = {${luaNames}}
for nth = 2, #KEYS do
  local at = 2 + values * 3 + (nth - 2) * #names
  local key, handle, put = KEYS[nth], {}, {'life', life, 'born', born}
  for field, name in ipairs(names) do
    if ARGV[at + field] ~= '' then
      handle[name] = string.sub(ARGV[at + field], 2)
      table.insert(put, name)
      table.insert(put, handle[name])
    end
  end
  -- One of another life is as good as none, but its uses would come back all the same.
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'left', handle.uses, unpack(put))
    redis.call('EXPIREAT', key, handle.expires)
    longest = math.max(longest, tonumber(handle.expires))
  end
end
-- The numbering of revocations has to outlive every handle that was numbered.
redis.call('HSET', KEYS[1], 'longest', string.format('%d', longest))
redis.call('EXPIREAT', KEYS[1], longest)
`;

/** KEYS: revocations, handles. ARGV: taker. Answers for each handle its fields without the value, and the taker's uses. */
export const look = `${shared}
local life = life(KEYS[1])
local found = {}
for nth = 2, #KEYS do
  found[nth - 1] = is_open(KEYS[nth], KEYS[1], life) and read(KEYS[nth], 'left', 'by:' .. ARGV[1])
end
return found
`;

/**
 * KEYS: revocations, redemption, handles. ARGV: request, attempt, window, taker. An attempt that is sent again
 * finds what it did the first time, and takes nothing when it was given back meanwhile.
 */
export const take = `${shared}
local life = life(KEYS[1])
if redis.call('HEXISTS', KEYS[2], 'back:' .. ARGV[2]) == 1 then return {'conflict'} end
local before = redis.call('HMGET', KEYS[2], 'request', 'attempt')
if before[1] and before[1] ~= ARGV[1] then return {'conflict'} end

local left, unknown, spent = {}, {}, {}
for nth = 3, #KEYS do
  local key = KEYS[nth]
  if not is_open(key, KEYS[1], life) then
    table.insert(unknown, nth - 3)
  elseif not before[1] then
    left[key] = (left[key] or tonumber(redis.call('HGET', key, 'left'))) - 1
    if left[key] < 0 then table.insert(spent, nth - 3) end
  end
end
if #unknown + #spent > 0 then return {'refused', unknown, spent} end

local outcome = 'taken'
if not before[1] then
  redis.call('HSET', KEYS[2], 'request', ARGV[1], 'attempt', ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
  for nth = 3, #KEYS do
    redis.call('HINCRBY', KEYS[nth], 'left', -1)
    redis.call('HINCRBY', KEYS[nth], 'by:' .. ARGV[4], 1)
  end
elseif before[2] ~= ARGV[2] then
  redis.call('HSET', KEYS[2], 'repeated', '1')
  outcome = 'repeat'
end
local handles, values, met = {}, {}, {}
for nth = 3, #KEYS do
  local handle = read(KEYS[nth])
  local id = handle[${fieldNames.indexOf("value") + 1}]
  handles[nth - 2] = handle
  if not met[id] then
    met[id] = true
    table.insert(values, id)
    table.insert(values, redis.call('GET', value_of(KEYS[1], id)))
  end
end
return {outcome, handles, values}
`;

/** KEYS: redemption, handles. ARGV: attempt, taker. Undoes what this attempt took, and nothing that another one took since. */
export const giveBack = `${onPrimary}
local done = redis.call('HMGET', KEYS[1], 'attempt', 'repeated')
if done[1] ~= ARGV[1] or done[2] then return end
redis.call('HDEL', KEYS[1], 'request', 'attempt')
redis.call('HSET', KEYS[1], 'back:' .. ARGV[1], '1')
for nth = 2, #KEYS do
  -- One that expired meanwhile must not come back as a hash of two counters.
  if redis.call('EXISTS', KEYS[nth]) == 1 then
    redis.call('HINCRBY', KEYS[nth], 'left', 1)
    redis.call('HINCRBY', KEYS[nth], 'by:' .. ARGV[2], -1)
  end
end
`;

/** KEYS: revocations. ARGV: mark, attempt. Marks that no handle can be under any more are swept on the way. */
export const revoke = `${onPrimary}
local longest = redis.call('HGET', KEYS[1], 'longest')
if not longest then return end
local before = redis.call('HGET', KEYS[1], ARGV[1])
-- Once: what was put since is none of its business.
if before and string.match(before, '%S+$') == ARGV[2] then return end
local now = tonumber(redis.call('TIME')[1])
local all = redis.call('HGETALL', KEYS[1])
for nth = 1, #all, 2 do
  local till = string.match(all[nth + 1], '^%d+ (%d+) ')
  if till and tonumber(till) <= now then redis.call('HDEL', KEYS[1], all[nth]) end
end
local number = redis.call('HINCRBY', KEYS[1], 'number', 1)
redis.call('HSET', KEYS[1], ARGV[1], number .. ' ' .. longest .. ' ' .. ARGV[2])
`;

/** KEYS: handle. Its key stays until it would have expired: a put that is sent again must not bring it back. */
export const remove = `${onPrimary}
if redis.call('EXISTS', KEYS[1]) == 0 then return end
redis.call('HSET', KEYS[1], 'life', 'revoked')
redis.call('HDEL', KEYS[1], 'sealed')
`;

/** KEYS: proof. ARGV: attempt, expires. */
export const rememberProof = `${onPrimary}
local before = redis.call('GET', KEYS[1])
if before then return before == ARGV[1] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EXAT', ARGV[2])
return 1
`;
