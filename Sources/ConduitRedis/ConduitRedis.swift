import CHiredis
import NIOPosix
import NIOSSL
