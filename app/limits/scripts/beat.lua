-- Says that a process lives, and that its calls do; returns how many processes live.
--
-- Invariant: a member expires by itself unless it is said again. A lease that was lost with the data comes back by it.
--
-- KEYS  the processes; then the counter of each lease that goes on
-- ARGV  id of the process, how long it is believed in ms, lease in ms; then the member of each lease

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local life_ms, lease_ms = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZADD', KEYS[1], now + life_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], life_ms)
for index = 2, #KEYS do
  redis.call('ZADD', KEYS[index], now + lease_ms, ARGV[index + 2])
  redis.call('PEXPIRE', KEYS[index], lease_ms)
end
return redis.call('ZCARD', KEYS[1])
