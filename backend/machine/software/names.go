package software

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

// KernelPrefix begins a component that is a Jupyter kernel: kernel:ir.
const KernelPrefix = "kernel:"

// Title is what a component is called for people; "" of one that is not looked for.
func Title(name string) string { return titles[name] }

// Package reports whether a Python package is one of those that are looked for.
func Package(name string) bool { return packages[name] }

// Known reports whether a component is one that an inventory has where it is installed.
func Known(name string) bool {
	if k, ok := strings.CutPrefix(name, KernelPrefix); ok {
		return k != ""
	}
	return titles[name] != "" || packages[name]
}

// Names are the components and packages that an inventory looks for, sorted.
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
