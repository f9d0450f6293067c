import msgspec
class Reach: pass
EMPTY_REACH = Reach()
class Opaque: pass
class Codec:
    def encode(self, v, *, where="value", reach=EMPTY_REACH): return msgspec.json.encode(v)
    def decode(self, d, *, reach=EMPTY_REACH): return msgspec.json.decode(d)
    def decode_lenient(self, d): return msgspec.json.decode(d)
    def encode_args(self, args, kwargs, *, where="args", reach=EMPTY_REACH): return msgspec.json.encode((args, kwargs))
    def decode_args(self, d, *, reach=EMPTY_REACH):
        a, k = msgspec.json.decode(d); return tuple(a), k
    def encode_error(self, e, *, reach=EMPTY_REACH): return msgspec.json.encode([type(e).__name__, str(e)])
    def decode_error(self, d, *, reach=EMPTY_REACH):
        n, m = msgspec.json.decode(d)
        import builtins
        return getattr(builtins, n, RuntimeError)(m)
default_codec = Codec()
