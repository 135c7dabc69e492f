package profile

import (
	"strconv"
	"strings"

	"berth/backend/api"
)

// minDriver is the oldest branch of the driver that runs programs of a CUDA release family.
// Source: NVIDIA, CUDA Compatibility, "Minor Version Compatibility", table 1
// (docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
var minDriver = map[int]int{11: 450, 12: 525, 13: 580}

// checkDriver says where the promised driver is too old for the promised CUDA toolkit.
func checkDriver(promises []api.Promise) error {
	var driver, cuda api.Promise
	for _, p := range promises {
		switch p.Component {
		case "nvidia-driver":
			driver = p
		case "cuda":
			cuda = p
		}
	}
	if driver.Version == "" || cuda.Version == "" {
		return nil
	}
	least, known := minDriver[major(cuda.Version)]
	switch {
	case !known:
		return api.Errorf(api.CodeUsage, "which driver CUDA %s (%s) needs is not known here", cuda.Version, cuda.Profile)
	case major(driver.Version) < least:
		return api.Errorf(api.CodeUsage, "CUDA %s (%s) needs a driver of branch %d or newer; %s promises %s", cuda.Version,
			cuda.Profile, least, driver.Profile, driver.Version)
	}
	return nil
}

func major(version string) int {
	s, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(s)
	return n
}
