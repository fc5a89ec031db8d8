-- Finds one answer.
--
-- KEYS  the answer
-- Returns it and in how many ms it ends; without it false and a negative number.

return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
