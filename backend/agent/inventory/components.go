package inventory

import (
	"maps"
	"slices"
	"strings"
)

// titles are the components that are looked for, by the name that a promise uses, but for packages.
var titles = map[string]string{
	"nvidia-driver": "NVIDIA driver", "cuda": "CUDA toolkit", "cudnn": "cuDNN", "nccl": "NCCL",
	"docker": "Docker", "podman": "Podman", "nvidia-container-toolkit": "NVIDIA Container Toolkit",
	"nginx": "Nginx", "mpi": "MPI", "protobuf": "protobuf (protoc)", "python": "Python", "r": "R", "conda": "conda",
	"rstudio-server": "RStudio Server", "code-server": "code-server", "blobfuse2": "blobfuse2", "rclone": "rclone",
	"az": "Azure CLI", "aws": "AWS CLI", "gcloud": "Google Cloud CLI",
	"git": "git", "tmux": "tmux", "gcc": "GCC", "cmake": "CMake",
}

// packages are the Python packages that are looked for.
var packages = map[string]bool{}

func init() {
	for p := range strings.FieldsSeq(`torch torchvision torchaudio tensorflow tf-keras keras horovod mlflow onnx onnxruntime onnxruntime-gpu skl2onnx tf2onnx
		onnxmltools numpy scipy pandas pyarrow scikit-learn matplotlib seaborn xgboost lightgbm jax transformers datasets accelerate peft deepspeed
		vllm lightning pytorch-lightning triton opencv-python pillow spacy nltk dask ray jupyterlab notebook jupyter-server jupyterlab-git
		ipykernel ipywidgets nb-conda-kernels azure-ai-ml azure-identity azure-cli boto3 awscli google-cloud-storage huggingface-hub wandb tensorboard`) {
		packages[p] = true
	}
}

// condaNames are packages that conda names otherwise than Python does.
var condaNames = map[string]string{"pytorch": "torch", "pytorch-gpu": "torch", "pytorch-cpu": "torch", "tensorflow-gpu": "tensorflow", "py-xgboost": "xgboost", "onnxruntime-gpu": "onnxruntime-gpu"}

// kernelPrefix begins a component that is a Jupyter kernel: kernel:ir.
const kernelPrefix = "kernel:"

// Known reports whether a component is one that Read would find.
func Known(name string) bool {
	if k, ok := strings.CutPrefix(name, kernelPrefix); ok {
		return k != ""
	}
	return titles[name] != "" || packages[name]
}

// Names are the components and packages that Read looks for, sorted.
func Names() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for n := range maps.Keys(titles) {
			if !yield(n) {
				return
			}
		}
		for n := range maps.Keys(packages) {
			if !yield(n) {
				return
			}
		}
	})
}

// tool is a program whose version is known from its package, or asked for.
type tool struct {
	name     string
	programs []string // any of these
	packages []string // Debian's, any of these
	args     []string
	paths    []string // where it may be besides the usual folders
}

var tools = []tool{
	{name: "docker", programs: []string{"docker"}, packages: []string{"docker-ce-cli", "docker.io", "moby-cli"}, args: []string{"--version"}},
	{name: "podman", programs: []string{"podman"}, packages: []string{"podman"}, args: []string{"--version"}},
	{name: "nvidia-container-toolkit", programs: []string{"nvidia-ctk", "nvidia-container-toolkit"}, packages: []string{"nvidia-container-toolkit"}, args: []string{"--version"}},
	{name: "nginx", programs: []string{"nginx"}, packages: []string{"nginx", "nginx-core", "nginx-light"}, args: []string{"-v"}},
	{name: "mpi", programs: []string{"mpirun", "mpiexec"}, packages: []string{"openmpi-bin", "mpich"}, args: []string{"--version"}},
	{name: "protobuf", programs: []string{"protoc"}, packages: []string{"protobuf-compiler"}, args: []string{"--version"}},
	{name: "r", programs: []string{"R"}, packages: []string{"r-base-core"}, args: []string{"--version"}},
	{name: "rstudio-server", programs: []string{"rstudio-server"}, packages: []string{"rstudio-server"}, args: []string{"version"}, paths: []string{"/usr/lib/rstudio-server/bin"}},
	{name: "code-server", programs: []string{"code-server"}, packages: []string{"code-server"}, args: []string{"--version"}},
	{name: "blobfuse2", programs: []string{"blobfuse2"}, packages: []string{"blobfuse2"}, args: []string{"--version"}},
	{name: "rclone", programs: []string{"rclone"}, packages: []string{"rclone"}, args: []string{"version"}},
	{name: "az", programs: []string{"az"}, packages: []string{"azure-cli"}, args: []string{"--version"}},
	{name: "aws", programs: []string{"aws"}, packages: []string{"awscli"}, args: []string{"--version"}},
	{name: "gcloud", programs: []string{"gcloud"}, packages: []string{"google-cloud-cli"}, args: []string{"--version"}},
	{name: "git", programs: []string{"git"}, packages: []string{"git"}, args: []string{"--version"}},
	{name: "tmux", programs: []string{"tmux"}, packages: []string{"tmux"}, args: []string{"-V"}},
	{name: "gcc", programs: []string{"gcc"}, args: []string{"-dumpfullversion"}},
	{name: "cmake", programs: []string{"cmake"}, packages: []string{"cmake"}, args: []string{"--version"}},
	{name: "python", programs: []string{"python3"}, args: []string{"--version"}},
}
