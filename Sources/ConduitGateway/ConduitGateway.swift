import Crypto
import NIOHTTP1
