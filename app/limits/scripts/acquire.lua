-- Ends the places of calls that are over, and corrects what they were admitted with, now that it is known what they used;
-- then admits calls, each against all its limits at once. However many calls there are, each counter is read and written
-- once.
--
-- Invariant: what is admitted in any window of a counter is at most its limit, and a call that is refused is counted
-- nowhere. A window is BUCKETS steps; a bucket holds what was admitted in one step, and counts until the last moment of
-- it is a whole window ago. Concurrent calls are members of a sorted set, scored with the moment at which they expire.
-- A counter's total stays what its buckets add up to, and no bucket goes below nothing. A bucket that is gone counts
-- nowhere any more, so there is nothing to correct in it.
--
-- KEYS  the counters, each once
-- ARGV  buckets, lease in ms, now in ms ("" is Redis's own clock; only tests set another), number of calls that are over;
--       then for each counter: step in ms (0: concurrent), limit, enforcing (1 or 0);
--       then for each call that is over: member of its leases, moment at which it was admitted in ms, number of its
--       counters; and for each of them: its place in KEYS, what to add to it (may be negative; concurrent: a lease to end);
--       then for each call to admit: member of its leases ("": it is only looked at), number of its limits;
--       and for each of them: its counter's place in KEYS, cost
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

local arg, counters = 5, {}
for index, key in ipairs(KEYS) do
  counters[index] = {
    key = key, step = tonumber(ARGV[arg]), limit = tonumber(ARGV[arg + 1]), enforces = ARGV[arg + 2] == '1',
    over = {}, corrections = {}, admitted = {}, added = 0,
  }
  arg = arg + 3
end

local function amounts_of(key, from, to)
  local names = {}
  for bucket = from, to do names[#names + 1] = bucket end
  return redis.call('HMGET', key, unpack(names))
end

local function correct(counter)
  for bucket, more in pairs(counter.corrections) do
    local counted = redis.call('HGET', counter.key, bucket)
    if counted then
      more = math.max(more, -tonumber(counted))
      redis.call('HINCRBY', counter.key, bucket, more)
      redis.call('HINCRBY', counter.key, 'total', more)
    end
  end
end

-- Reads the window as it is now: what is used, its oldest and its newest bucket, and which are to be deleted.
local function read(counter)
  local bucket = math.floor(now / counter.step)
  local stored = redis.call('HMGET', counter.key, 'total', 'first', 'last')
  local total, first, last = tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3])
  if not total or last < bucket - BUCKETS or last > bucket + BUCKETS then
    -- Nothing of it counts any more. Or the clock went back by more than a window: only beginning anew helps.
    counter.used, counter.first, counter.last, counter.is_lost = 0, bucket, bucket, total
    return
  end
  -- Where the clock went back by less, the counter's own time stands still until the clock has caught up.
  bucket = math.max(bucket, last)
  counter.used, counter.first, counter.last, counter.newest = total, math.max(first, bucket - BUCKETS), bucket, last
  if first < counter.first then
    counter.gone = {}
    for at, amount in ipairs(amounts_of(counter.key, first, counter.first - 1)) do
      if amount then
        counter.used = counter.used - amount
        counter.gone[#counter.gone + 1] = first + at - 1
      end
    end
  end
end

local function read_concurrent(counter)
  redis.call('ZREMRANGEBYSCORE', counter.key, '-inf', now)
  counter.used = redis.call('ZCARD', counter.key)
end

local function ends(bucket, step) return (bucket + 1 + BUCKETS) * step - now end

local function wait_for(counter, excess)
  for at, amount in ipairs(amounts_of(counter.key, counter.first, counter.last)) do
    excess = excess - (amount or 0)
    if excess <= 0 then return ends(counter.first + at - 1, counter.step) end
  end
  return ends(counter.last, counter.step)
end

local function admit(counter, member, cost)
  counter.used, counter.added = counter.used + cost, counter.added + cost
  if counter.step == 0 then
    counter.admitted[#counter.admitted + 1] = now + LEASE_MS
    counter.admitted[#counter.admitted + 1] = member
  elseif counter.newest ~= counter.last then
    counter.newest, counter.is_prolonged = counter.last, true
  end
end

local function write(counter)
  local key = counter.key
  if counter.step == 0 then
    redis.call('ZADD', key, unpack(counter.admitted))
    redis.call('PEXPIRE', key, LEASE_MS)
    return
  end
  if counter.is_lost then redis.call('DEL', key) end
  if counter.gone and #counter.gone > 0 then redis.call('HDEL', key, unpack(counter.gone)) end
  redis.call('HINCRBY', key, counter.last, counter.added)
  redis.call('HSET', key, 'total', counter.used, 'first', counter.first, 'last', counter.last)
  if counter.is_prolonged then redis.call('PEXPIRE', key, (BUCKETS + 2) * counter.step + SPARE_MS) end
end

for _ = 1, tonumber(ARGV[4]) do
  local member, at, count = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  for base = arg + 3, arg + 1 + count * 2, 2 do
    local counter, more = counters[tonumber(ARGV[base])], tonumber(ARGV[base + 1])
    if counter.step == 0 then
      counter.over[#counter.over + 1] = member
    else
      local bucket = math.floor(at / counter.step)
      counter.corrections[bucket] = (counter.corrections[bucket] or 0) + more
    end
  end
  arg = arg + 3 + count * 2
end
for _, counter in ipairs(counters) do
  if #counter.over > 0 then redis.call('ZREM', counter.key, unpack(counter.over)) end
  correct(counter)
end

local answers = {}
while arg <= #ARGV do
  local member, last = ARGV[arg], arg + ARGV[arg + 1] * 2
  local refused_by, wait = 0, 0
  for base = arg + 2, last, 2 do
    local counter, cost = counters[tonumber(ARGV[base])], tonumber(ARGV[base + 1])
    if not counter.used then
      if counter.step == 0 then read_concurrent(counter) else read(counter) end
    end
    counter.cost, counter.is_over = cost, 0
    local excess = counter.used + cost - counter.limit
    if excess > 0 and cost > 0 then
      if not counter.enforces then
        counter.cost, counter.is_over = 0, 1  -- as it would be if it enforced: what it refuses is not counted in it
      else
        local its = UNKNOWN
        if cost > counter.limit then its = NEVER elseif counter.step > 0 then its = wait_for(counter, excess) end
        if its > wait then refused_by, wait = (base - arg) / 2, its end  -- of several, the one that takes longest
      end
    end
  end
  local answer = {refused_by, wait, now}
  for base = arg + 2, last, 2 do
    local counter, reset = counters[tonumber(ARGV[base])], 0
    if refused_by == 0 and member ~= '' and counter.cost > 0 then admit(counter, member, counter.cost) end
    if counter.step > 0 and counter.used > 0 then reset = ends(counter.newest or counter.last, counter.step) end
    answer[#answer + 1] = math.max(0, counter.limit - counter.used)
    answer[#answer + 1] = reset
    answer[#answer + 1] = counter.is_over
  end
  answers[#answers + 1] = answer
  arg = last + 2
end
for _, counter in ipairs(counters) do
  if counter.added > 0 then write(counter) end
end
return answers
