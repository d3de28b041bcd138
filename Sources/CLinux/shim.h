// What Linux has and Swift's Glibc module leaves out.
#include <sys/epoll.h>
