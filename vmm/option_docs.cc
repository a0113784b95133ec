// SPDX-License-Identifier: Apache-2.0
#include "vmm/option_docs.h"

#include <fmt/format.h>

#include <cctype>

#include "vmm/network_keys.h"
#include "vmm/option_table.h"

namespace tapir::vmm {
namespace {

using Kind = KeyGroup::Kind;

/// Text for man(7): a hyphen that is a minus, and a backslash.
std::string roff(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '-' || c == '\\') {
      escaped.append(c == '-' ? "\\-" : "\\e");
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

/// A phrase as a sentence.
std::string sentence(std::string_view phrase) {
  std::string text(phrase);
  if (!text.empty() && std::islower(static_cast<unsigned char>(text.front())) != 0 &&
      text.find("tapir") != 0) {
    text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  }
  return text + ".";
}

/// `[size=]N[K|M]` with what the operator chooses, in capitals, in italics and the rest in bold.
std::string roff_argument(std::string_view argument) {
  std::string text;
  char font = 'R';
  const auto change = [&](char to) {
    if (font != to) {
      text.append("\\f").push_back(to);
      font = to;
    }
  };
  for (std::size_t i = 0; i < argument.size(); ++i) {
    const char c = argument[i];
    if (std::isupper(static_cast<unsigned char>(c)) != 0) {
      change('I');
    } else if (c == '[' || c == ']' || c == '|' || c == ' ' || (c == '.' && font != 'B')) {
      change('R');
    } else {
      change('B');
    }
    text.append(roff(argument.substr(i, 1)));
  }
  change('R');
  return text;
}

void append_option(std::string& text, const OptionSpec& option) {
  text.append(fmt::format(".TP\n\\fB\\-{}\\fR{}{}\n{}\n", roff(option.name),
                          option.argument.empty() ? "" : " ", roff_argument(option.argument),
                          roff(sentence(option.help))));
  if (!option.more.empty()) {
    text.append(roff(option.more)).append("\n");
  }
}

std::string_view article(Kind kind) {
  switch (kind) {
    case Kind::kBackend:
      return "Keys of the backend ";
    case Kind::kNetNic:
      return "Keys of \\-net ";
    case Kind::kNic:
      return "Keys of \\-nic beside those of its backend";
    case Kind::kDevice:
      return "Keys of \\-device ";
  }
  return {};
}

void append_keys(std::string& text, const KeyGroup& group) {
  text.append(fmt::format(".SS {}{}\n{}\n", article(group.kind),
                          group.kind == Kind::kNic ? "" : roff(group.name), roff(sentence(group.help))));
  std::string off;
  for (const KeySpec& key : group.keys) {
    if (key.type == KeySpec::Type::kOffOnly) {
      off.append(off.empty() ? "" : ", ").append(key.name);
    }
    if (key.hidden()) {
      continue;
    }
    text.append(fmt::format(".TP\n\\fB{}=\\fR{}\n{}\n", roff(key.name), roff_argument(key.value),
                            roff(sentence(key.help))));
    if (!key.standard.empty()) {
      text.append(fmt::format("Default: {}.\n", roff(key.standard)));
    }
  }
  if (!off.empty()) {
    text.append(fmt::format(".PP\nOf these, which are QEMU's, tapir has none: they may be off only.\n{}.\n",
                            roff(off)));
  }
}

bool has_keys(const OptionSpec& option) {
  return option.name == "netdev" || option.name == "net" || option.name == "nic" || option.name == "device";
}

/// The backends, or the devices.
std::string names_of(Kind kind) {
  std::string names;
  for (const KeyGroup& group : network_key_groups()) {
    if (group.kind == kind) {
      names.append(names.empty() ? "" : " ").append(group.name);
    }
  }
  return names;
}

std::string key_names(std::span<const KeySpec> keys) {
  std::string names;
  for (const KeySpec& key : keys) {
    if (!key.hidden() && key.name != "type" && key.name != "driver") {
      names.append(names.empty() ? "" : " ").append(key.name).append("=");
    }
  }
  return names;
}

/// The branches of a shell's `case OPTION:TYPE in` that set `keys`. `begin` stands before each, `other`
/// between the two options of one, `open` and `close` around the words.
std::string key_cases(std::string_view begin, std::string_view other, std::string_view open,
                      std::string_view close) {
  std::string text;
  const auto add = [&](const std::string& pattern, const std::string& keys) {
    text.append(fmt::format("{}{}) keys={}{}{} ;;\n", begin, pattern, open, keys, close));
  };
  for (const KeyGroup& group : network_key_groups()) {
    const std::string keys = key_names(group.keys);
    if (group.kind == Kind::kBackend) {
      add(fmt::format("netdev:{0}{1}net:{0}", group.name, other), keys);
      add(fmt::format("nic:{}", group.name), keys + " " + key_names(nic_keys()));
    } else if (group.kind == Kind::kNetNic) {
      add(fmt::format("net:{}", group.name), keys);
    } else if (group.kind == Kind::kDevice) {
      add(fmt::format("device:{}", group.name), keys);
    }
  }
  return text;
}

}  // namespace

std::string manual_options() {
  std::string text;
  const OptionSpec* previous = nullptr;
  for (const OptionSpec& option : option_table()) {
    if (previous == nullptr || previous->group != option.group) {
      text.append(fmt::format(".SS {}\n", group_title(option.group)));
    }
    append_option(text, option);
    previous = &option;
  }
  for (const KeyGroup& group : network_key_groups()) {
    append_keys(text, group);
  }
  return text;
}

namespace {

/// A bar would end the cell.
std::string in_table_cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    escaped.append(c == '|' ? "\\|" : std::string(1, c));
  }
  return escaped;
}

}  // namespace

std::string readme_table() {
  std::string text = "| option | meaning |\n| --- | --- |\n";
  for (const OptionSpec& option : option_table()) {
    text.append(fmt::format("| `-{}{}{}` | {} |\n", option.name, option.argument.empty() ? "" : " ",
                            in_table_cell(option.argument), in_table_cell(option.help)));
  }
  return text;
}

std::string bash_completion() {
  std::string text =
      "# SPDX-License-Identifier: Apache-2.0\n"
      "# Completion of tapir's options for bash; made by tapir-option-docs.\n"
      "_tapir() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]} keys=''\n"
      "  # Bash takes '=' for the end of a word; what matters here is the whole argument.\n"
      "  local line=${COMP_LINE:0:COMP_POINT}\n"
      "  local argument=${line##* }\n"
      "  line=${line% *}\n"
      "  option=${line##* }\n"
      "  case ${option#-} in\n";
  for (const OptionSpec& option : option_table()) {
    if (option.argument.empty()) {
      continue;
    }
    if (option.argument == "FILE") {
      text.append(fmt::format(
          "    -{0} | {0}) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n", option.name));
    } else if (!has_keys(option)) {
      text.append(
          fmt::format("    -{0} | {0}) mapfile -t COMPREPLY < <(compgen -W '{1}' -- \"$word\"); return ;;\n",
                      option.name, option.example));
    }
  }
  text.append(fmt::format("    -netdev | netdev) keys='{} help' ;;\n", names_of(Kind::kBackend)));
  text.append(fmt::format("    -nic | nic) keys='{} none model=help' ;;\n", names_of(Kind::kBackend)));
  text.append(fmt::format("    -net | net) keys='{} nic none' ;;\n", names_of(Kind::kBackend)));
  text.append(fmt::format("    -device | device) keys='{} help' ;;\n", names_of(Kind::kDevice)));
  text.append("    *)\n      mapfile -t COMPREPLY < <(compgen -W '");
  for (const OptionSpec& option : option_table()) {
    text.append("-").append(option.name).append(" ");
  }
  text.append(
      "' -- \"$word\")\n      return ;;\n  esac\n"
      "  if [[ $argument == *,* ]]; then\n"
      "    case ${option#-}:${argument%%,*} in\n");
  text.append(key_cases("      *", " | *", "'", "'"));
  text.append(
      "      *) keys='' ;;\n"
      "    esac\n"
      "  fi\n"
      "  # Of the argument only what follows the last comma is completed, and only keys, whose values are "
      "the\n"
      "  # operator's; what Bash has already cut off the word stays cut off.\n"
      "  local item=${argument##*,} before=''\n"
      "  [[ $argument != *,* ]] || before=${argument%,*},\n"
      "  before=${before#\"${argument%\"$word\"}\"}\n"
      "  compopt -o nospace 2> /dev/null\n"
      "  mapfile -t COMPREPLY < <(compgen -P \"$before\" -W \"$keys\" -- \"$item\")\n"
      "}\n"
      "complete -F _tapir tapir\n");
  return text;
}

std::string zsh_completion() {
  std::string text =
      "#compdef tapir\n"
      "# SPDX-License-Identifier: Apache-2.0\n"
      "# Completion of tapir's options for zsh; made by tapir-option-docs.\n"
      "_tapir_items() {\n"
      "  local -a keys\n"
      "  case $1:${PREFIX%%,*} in\n";
  text.append(key_cases("    ", " | ", "(", ")"));
  text.append(
      fmt::format("  esac\n"
                  "  if [[ $PREFIX != *,* ]]; then\n"
                  "    case $1 in\n"
                  "      netdev) keys=({0} help) ;;\n"
                  "      nic) keys=({0} none model=help) ;;\n"
                  "      net) keys=({0} nic none) ;;\n"
                  "      device) keys=({1} help) ;;\n"
                  "    esac\n"
                  "  else\n"
                  "    compset -P '*,'\n"
                  "  fi\n"
                  "  compadd -S '' -- $keys\n"
                  "}}\n"
                  "_arguments \\\n",
                  names_of(Kind::kBackend), names_of(Kind::kDevice)));
  for (const OptionSpec& option : option_table()) {
    std::string help;
    for (const char c : option.help) {
      help.append(c == '\''                          ? "'\\''"
                  : c == '[' || c == ']' || c == ':' ? std::string("\\") + c
                                                     : std::string(1, c));
    }
    const char* const star = has_keys(option) ? "*" : "";
    std::string action;
    if (has_keys(option)) {
      action = fmt::format(":argument: _tapir_items {}", option.name);
    } else if (option.argument == "FILE") {
      action = ":file:_files";
    } else if (!option.argument.empty()) {
      action = fmt::format(":argument:({})", option.example);
    }
    text.append(fmt::format("  '{}-{}[{}]{}' \\\n", star, option.name, help, action));
  }
  text.append("  && return 0\n");
  return text;
}

}  // namespace tapir::vmm
