-- Corrects what calls were admitted with, now that it is known what they used, and ends their leases.
--
-- Invariant: a counter's total stays what its buckets add up to, and no bucket goes below nothing. A bucket that is
-- gone counts nowhere any more, so there is nothing to correct in it.
--
-- KEYS  the counters: of each call, of each of its limits
-- ARGV  for each call: member of its leases, moment at which it was admitted in ms, number of its limits;
--       and for each of these: step in ms (0: a lease to end), what to add to it (may be negative)

local arg, first_key = 1, 0
while arg <= #ARGV do
  local member, at, count = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  for index = 1, count do
    local base = arg + 3 + (index - 1) * 2
    local step, more = tonumber(ARGV[base]), tonumber(ARGV[base + 1])
    local key = KEYS[first_key + index]
    if step == 0 then
      redis.call('ZREM', key, member)
    else
      local bucket = math.floor(at / step)
      local counted = redis.call('HGET', key, bucket)
      if counted then
        more = math.max(more, -tonumber(counted))
        redis.call('HINCRBY', key, bucket, more)
        redis.call('HINCRBY', key, 'total', more)
      end
    end
  end
  arg, first_key = arg + 3 + count * 2, first_key + count
end
