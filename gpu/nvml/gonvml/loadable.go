//go:build linux && cgo

package gonvml

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"unsafe"
)

// loadable says, in the dynamic loader's words, why a library can't be loaded, or that it is none of NVML: the
// bindings tell neither. It stays loaded: what they load then is the same library.
func loadable(path string) error {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	h := C.dlopen(p, C.RTLD_LAZY|C.RTLD_GLOBAL)
	if h == nil {
		return fmt.Errorf("loading %s: %s", path, C.GoString(C.dlerror()))
	}
	for _, name := range []string{"nvmlInit_v2", "nvmlInit"} {
		s := C.CString(name)
		defer C.free(unsafe.Pointer(s))
		if C.dlsym(h, s) != nil {
			return nil
		}
	}
	C.dlclose(h)
	return fmt.Errorf("loading %s: it has no nvmlInit: it is not NVML", path)
}
