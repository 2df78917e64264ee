/*
 * The one function of Windows' bcryptprimitives.dll that Go's runtime needs: it fills memory with
 * random bytes. Debian's wine has no such library.
 */
#include <stddef.h>

typedef unsigned char BOOLEAN;
typedef unsigned long ULONG;
typedef int BOOL;

/* RtlGenRandom of advapi32.dll, under the name that it is exported by. */
__declspec(dllimport) BOOLEAN __stdcall SystemFunction036(void *buffer, ULONG size);

__declspec(dllexport) BOOL __stdcall ProcessPrng(unsigned char *data, size_t size)
{
	const size_t most = 1UL << 30; /* an ULONG holds no more than 32 bits */

	while (size > 0) {
		size_t part = size < most ? size : most;

		if (!SystemFunction036(data, (ULONG)part))
			return 0;
		data += part;
		size -= part;
	}
	return 1;
}
