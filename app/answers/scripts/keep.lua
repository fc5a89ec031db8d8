-- Keeps one answer for some time, beside others that together are not larger than is allowed.
--
-- Invariant: `sizes` has the size of each answer that is in `ends`, and under `total` what they add up to; no answer is
-- kept that is not in both. What ends by itself leaves them later, so that `total` is too large rather than too small.
-- All keys are in one slot; those of other answers are made from their names.
--
-- KEYS  the answer, `ends` (names by when they end), `sizes` (by name)
-- ARGV  the name that the first key ends with, the answer, how long it is kept in ms, how large all may be in bytes
-- Returns 1 if it is kept, 0 if there is no room for it, here or in Redis.

local answer, ends, sizes = KEYS[1], KEYS[2], KEYS[3]
local name, ttl, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local size = #ARGV[2]
local prefix = string.sub(answer, 1, -#name - 1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local forgotten_max = 1000  -- nobody waits long; the rest is for the next one
local freed_min_bytes = 1048576

local function total()
  return tonumber(redis.call('HGET', sizes, 'total') or 0)
end

local function forget(other)
  redis.call('UNLINK', prefix .. other)  -- first: a script that has deleted something may write, whatever the memory
  redis.call('ZREM', ends, other)
  redis.call('HINCRBY', sizes, 'total', -tonumber(redis.call('HGET', sizes, other) or 0))
  redis.call('HDEL', sizes, other)
end

local function is_too_much()
  return total() + size > most
end

-- A Redis that is full, of whatever, refuses to write. What counts calls must not wait until answers end by themselves.
local written = redis.pcall('HSET', sizes, 'total', total())
if type(written) == 'table' and written.err then
  local enough = total() - math.max(size, freed_min_bytes)
  for _, other in ipairs(redis.call('ZRANGE', ends, 0, forgotten_max - 1)) do
    forget(other)
    if total() <= enough then break end
  end
  return 0
end

forget(name)
for _, other in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, forgotten_max)) do forget(other) end
if is_too_much() and size <= most then
  for _, other in ipairs(redis.call('ZRANGE', ends, 0, forgotten_max - 1)) do
    forget(other)
    if not is_too_much() then break end
  end
end
if is_too_much() then return 0 end

redis.call('SET', answer, ARGV[2], 'PX', ttl)
redis.call('ZADD', ends, now + ttl, name)
redis.call('HSET', sizes, name, size)
redis.call('HINCRBY', sizes, 'total', size)
for _, key in ipairs({ends, sizes}) do
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
return 1
