import CMallocCounter
import ConduitCore
import ConduitHub
import ConduitRedis
import ConduitWire
import NIOCore

let command = try CommandDecoder.decode(ByteBuffer(string: #"{"type":"ping","data":1}"#))
print(command.type, malloc_counter_calls())
let reader = try RedisReplyReader(mode: .answers)
try reader.read(ByteBuffer(string: "+OK\r\n")) { print($0); return true }
