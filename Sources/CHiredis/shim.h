// The parts of hiredis that Conduit uses: its reply reader and its command formatter.
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
