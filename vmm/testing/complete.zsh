#!/usr/bin/env zsh
# SPDX-License-Identifier: Apache-2.0
# What an interactive zsh makes of each LINE when its user asks for completion at the end of it, one result a line.
#
#   zsh -f complete.zsh DIRECTORY-OF-_tapir LINE…
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell "PROMPT=; unsetopt zle_bracketed_paste; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D"
# The shell echoes this line, so the words that are waited for do not stand in it as they will be printed.
zpty -w shell 'show() { zle complete-word; print -r -- "DO""NE<$BUFFER>"; zle kill-buffer; }; zle -N show; bindkey "^I" show; print REA""DY'
zpty -r -m shell output '*READY*'
shift
for line in "$@"; do
  zpty -w -n shell "$line"$'\t'
  zpty -r -m shell output '*DONE<*>*'
  print -r -- "${${output##*DONE<}%%>*}"
done
zpty -d shell
