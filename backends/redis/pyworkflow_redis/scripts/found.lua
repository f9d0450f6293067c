-- Settles what a namespace is, for good: the first who comes says it.
-- KEYS[1]: its settings. ARGV: version, buckets, whether there is a feed, a random tag.
-- Answers these four as they are.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'buckets', ARGV[2], 'feed', ARGV[3], 'tag', ARGV[4])
end
return redis.call('HMGET', KEYS[1], 'version', 'buckets', 'feed', 'tag')
