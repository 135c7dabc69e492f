package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// bashCompletion writes the completion script for bash. What it takes from the package bash-completion, which a fresh
// host lacks, it brings along.
func bashCompletion(root *cobra.Command, w io.Writer) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	own := strings.NewReplacer(
		`_get_comp_words_by_ref "$@" cur prev words cword`, "__berth_words",
		"_filedir", "__berth_filedir",
	).Replace(script.String())
	_, err := io.WriteString(w, own+bashHelpers)
	return err
}

const bashHelpers = `
# The words of the command line. Bash splits them at = and :, too: what no blank separates is one word.
__berth_words()
{
    local i piece rest=$COMP_LINE
    words=() cword=0 cur= prev=
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        piece=${COMP_WORDS[i]}
        if ((i > 0)) && [[ $rest != [[:space:]]* && -n $rest ]]; then
            words[${#words[@]}-1]+=$piece
        else
            words+=("$piece")
        fi
        while [[ $rest == [[:space:]]* ]]; do rest=${rest:1}; done
        rest=${rest:${#piece}}
        ((i == COMP_CWORD)) && cword=$((${#words[@]} - 1))
    done
    cur=${words[cword]}
    ((cword > 0)) && prev=${words[cword-1]}
    return 0
}

# Files, or with -d folders.
__berth_filedir()
{
    if declare -F _filedir >/dev/null 2>&1; then
        _filedir "$@"
        return
    fi
    local kind=-f name
    [[ ${1-} == -d ]] && kind=-d
    COMPREPLY=()
    while IFS= read -r name; do COMPREPLY+=("$name"); done < <(compgen "$kind" -- "$cur")
    compopt -o filenames 2>/dev/null
    return 0
}
`
