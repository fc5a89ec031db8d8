-- Ends the places of calls that are over, and corrects what they were admitted with, now that it is known what they used;
-- then admits calls, each against all its limits at once.
--
-- Invariant: what is admitted in any window of a counter is at most its limit, and a call that is refused is counted
-- nowhere. A window is BUCKETS steps; a bucket holds what was admitted in one step, and counts until the last moment of
-- it is a whole window ago. Concurrent calls are members of a sorted set, scored with the moment at which they expire.
-- A counter's total stays what its buckets add up to, and no bucket goes below nothing. A bucket that is gone counts
-- nowhere any more, so there is nothing to correct in it.
--
-- KEYS  the counters: of each call, of each of its limits; those of the calls that are over first
-- ARGV  buckets, lease in ms, now in ms ("" is Redis's own clock; only tests set another), number of calls that are over;
--       then for each of these: member of its leases, moment at which it was admitted in ms, number of its limits;
--       and for each of them: step in ms (0: a lease to end), what to add to it (may be negative);
--       then for each call to admit: member of its leases ("": it is only looked at), number of its limits;
--       and for each of these: step in ms (0: concurrent), limit, enforcing (1 or 0), cost
-- Returns for each call to admit: index of the limit that refused it (0: admitted), ms until it would be admitted (UNKNOWN:
--       when other calls end; NEVER: it asks for more than there is), now in ms; and for each limit: remaining, ms
--       until all of it is back, 1 where a shadow limit would have refused it.
-- Written for Redis 6.2; what it writes is replicated as effects, so it may read the clock.

local BUCKETS, LEASE_MS = tonumber(ARGV[1]), tonumber(ARGV[2])
local NEVER, UNKNOWN = 2 ^ 53, 2 ^ 52
local SPARE_MS = 60000  -- a counter outlives its window by this, should the clock go back a little
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function amounts_of(key, from, to)
  local names = {}
  for bucket = from, to do names[#names + 1] = bucket end
  return redis.call('HMGET', key, unpack(names))
end

-- Returns the counter as it is now: its total, its oldest and its newest bucket, and which are to be deleted.
local function read(key, step)
  local bucket = math.floor(now / step)
  local stored = redis.call('HMGET', key, 'total', 'first', 'last')
  local total, first, last = tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3])
  if not total or last < bucket - BUCKETS or last > bucket + BUCKETS then
    -- Nothing of it counts any more. Or the clock went back by more than a window: only beginning anew helps.
    return {total = 0, first = bucket, last = bucket, is_lost = total}
  end
  -- Where the clock went back by less, the counter's own time stands still until the clock has caught up.
  bucket = math.max(bucket, last)
  local counter = {total = total, first = math.max(first, bucket - BUCKETS), last = bucket, newest = last}
  if first < counter.first then
    counter.gone = {}
    for at, amount in ipairs(amounts_of(key, first, counter.first - 1)) do
      if amount then
        counter.total = counter.total - amount
        counter.gone[#counter.gone + 1] = first + at - 1
      end
    end
  end
  return counter
end

local function ends(bucket, step) return (bucket + 1 + BUCKETS) * step - now end

local function wait_for(key, step, counter, excess)
  for at, amount in ipairs(amounts_of(key, counter.first, counter.last)) do
    excess = excess - (amount or 0)
    if excess <= 0 then return ends(counter.first + at - 1, step) end
  end
  return ends(counter.last, step)
end

local function add(key, step, counter, cost)
  if counter.is_lost then redis.call('DEL', key) end
  if counter.gone and #counter.gone > 0 then redis.call('HDEL', key, unpack(counter.gone)) end
  redis.call('HINCRBY', key, counter.last, cost)
  redis.call('HSET', key, 'total', counter.total + cost, 'first', counter.first, 'last', counter.last)
  if counter.newest ~= counter.last then redis.call('PEXPIRE', key, (BUCKETS + 2) * step + SPARE_MS) end
  counter.newest = counter.last
end

local function correct(key, step, at, more)
  local bucket = math.floor(at / step)
  local counted = redis.call('HGET', key, bucket)
  if counted then
    more = math.max(more, -tonumber(counted))
    redis.call('HINCRBY', key, bucket, more)
    redis.call('HINCRBY', key, 'total', more)
  end
end

local arg, first_key, answers = 5, 0, {}
for _ = 1, tonumber(ARGV[4]) do
  local member, at, count = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  for index = 1, count do
    local base = arg + 3 + (index - 1) * 2
    local step, more = tonumber(ARGV[base]), tonumber(ARGV[base + 1])
    local key = KEYS[first_key + index]
    if step == 0 then redis.call('ZREM', key, member) else correct(key, step, at, more) end
  end
  arg, first_key = arg + 3 + count * 2, first_key + count
end

while arg <= #ARGV do
  local member, count = ARGV[arg], tonumber(ARGV[arg + 1])
  local limits, refused_by, wait = {}, 0, 0
  for index = 1, count do
    local base = arg + 2 + (index - 1) * 4
    local step, limit, cost = tonumber(ARGV[base]), tonumber(ARGV[base + 1]), tonumber(ARGV[base + 3])
    local key = KEYS[first_key + index]
    local each = {key = key, step = step, limit = limit, cost = cost, wait = 0}
    local used
    if step == 0 then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
      used = redis.call('ZCARD', key)
    else
      each.counter = read(key, step)
      used = each.counter.total
    end
    each.used = used
    if used + cost > limit and cost > 0 then
      if cost > limit then each.wait = NEVER
      elseif step == 0 then each.wait = UNKNOWN
      else each.wait = wait_for(key, step, each.counter, used + cost - limit) end
      if ARGV[base + 2] == '0' then
        each.cost, each.is_over = 0, 1  -- as it would be if it enforced: what it refuses is not counted in it
      elseif each.wait > wait then
        refused_by, wait = index, each.wait  -- of several, the one that takes longest
      end
    end
    limits[index] = each
  end
  local answer = {refused_by, wait, now}
  for _, each in ipairs(limits) do
    local cost = (refused_by == 0 and member ~= '') and each.cost or 0
    if cost > 0 then
      if each.step == 0 then
        redis.call('ZADD', each.key, now + LEASE_MS, member)
        redis.call('PEXPIRE', each.key, LEASE_MS)
      else
        add(each.key, each.step, each.counter, cost)
      end
    end
    local used, reset = each.used + cost, 0
    if each.step > 0 and used > 0 then reset = ends(each.counter.newest or each.counter.last, each.step) end
    answer[#answer + 1] = math.max(0, each.limit - used)
    answer[#answer + 1] = reset
    answer[#answer + 1] = each.is_over or 0
  end
  answers[#answers + 1] = answer
  arg, first_key = arg + 2 + count * 4, first_key + count
end
return answers
