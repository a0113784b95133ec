// SPDX-License-Identifier: Apache-2.0
#include "helper/arguments.h"

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <string_view>
#include <utility>

#include "helper/acl.h"
#include "net/base/parse.h"
#include "net/base/printable.h"
#include "net/base/version.h"

namespace tapir::helper {
namespace {

constexpr std::size_t kMaxShownBytes = 64;
constexpr std::string_view kTwice = "given twice";
constexpr std::string_view kUsage =
    "tapir-bridge-helper [--use-vnet] --br=BRIDGE --fd=FD [--queues=N] [--mac=MAC]";

// What the command line has said so far: each option once.
struct Words {
  std::optional<std::string_view> bridge;
  std::optional<std::string_view> fd;
  std::optional<std::string_view> queues;
  std::optional<std::string_view> mac;
  std::optional<std::string_view> user;
  bool use_vnet = false;
  bool check = false;
  bool help = false;
  bool version = false;
};

struct ValueOption {
  std::string_view name;
  std::optional<std::string_view> Words::*value;
};
constexpr std::array<ValueOption, 5> kValueOptions{{{"--br", &Words::bridge},
                                                    {"--fd", &Words::fd},
                                                    {"--queues", &Words::queues},
                                                    {"--mac", &Words::mac},
                                                    {"--user", &Words::user}}};
struct Flag {
  std::string_view name;
  bool Words::*set;
};
constexpr std::array<Flag, 4> kFlags{{{"--use-vnet", &Words::use_vnet},
                                      {"--check", &Words::check},
                                      {"--help", &Words::help},
                                      {"--version", &Words::version}}};

tl::unexpected<Error> refuse(std::string_view argument, std::string_view why) {
  return fail(printable(argument, kMaxShownBytes).append(": ").append(why));
}

Status set_value(std::string_view word, std::optional<std::string_view>& value, std::string_view text) {
  if (text.empty()) {
    return refuse(word, "its value is missing, as in --br=br0");
  }
  return std::exchange(value, text) ? refuse(word, kTwice) : Status{};
}

Status read_word(std::string_view word, Words& words) {
  for (const Flag& flag : kFlags) {
    if (word == flag.name) {
      return std::exchange(words.*flag.set, true) ? refuse(word, kTwice) : Status{};
    }
  }
  const std::size_t name_bytes = std::min(word.find('='), word.size());
  for (const ValueOption& option : kValueOptions) {
    if (word.substr(0, name_bytes) == option.name) {
      return set_value(word, words.*option.value, word.substr(std::min(name_bytes + 1, word.size())));
    }
  }
  return refuse(word, "no such option; --help shows all");
}

Result<Words> read_words(std::span<const char* const> arguments) {
  Words words;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    // --user NAME is as good as --user=NAME: it is people who write it.
    if (word == "--user" && i + 1 < arguments.size()) {
      TAPIR_TRY(set_value(word, words.user, arguments[++i]));
    } else {
      TAPIR_TRY(read_word(word, words));
    }
  }
  return words;
}

Status read_bridge(std::string_view text, GrantRequest& request) {
  if (!is_interface_name(text)) {
    return refuse("--br=" + std::string(text),
                  "not the name of a bridge (1 to 15 letters, digits, '_', '.' or '-')");
  }
  request.bridge = text;
  return {};
}

Status read_fd(std::string_view text, GrantRequest& request) {
  const auto fd = parse_decimal(text, INT_MAX);
  if (!fd) {
    return refuse("--fd=" + std::string(text), "not the decimal number of a descriptor");
  }
  request.fd = static_cast<int>(*fd);
  return {};
}

Status read_queues(std::string_view text, GrantRequest& request) {
  const auto queues = parse_decimal(text, kMaxQueues);
  if (!queues || *queues == 0) {
    return refuse("--queues=" + std::string(text), "not a number from 1 to " + std::to_string(kMaxQueues));
  }
  request.queues = static_cast<unsigned>(*queues);
  return {};
}

Status read_mac(std::string_view text, GrantRequest& request) {
  request.guest_mac = net::MacAddress::parse(text);
  return request.guest_mac ? Status{}
                           : refuse("--mac=" + std::string(text), "not a MAC address like 52:54:00:12:34:56");
}

Result<Arguments> grant_request(const Words& words) {
  if (words.user) {
    return fail("--user goes with --check only");
  }
  if (!words.bridge || !words.fd) {
    return fail(std::string(words.bridge ? "--fd" : "--br").append(" is missing; usage: ").append(kUsage));
  }
  GrantRequest request;
  request.vnet_header = words.use_vnet;
  TAPIR_TRY(read_bridge(*words.bridge, request));
  TAPIR_TRY(read_fd(*words.fd, request));
  if (words.queues) {
    TAPIR_TRY(read_queues(*words.queues, request));
  }
  if (words.mac) {
    TAPIR_TRY(read_mac(*words.mac, request));
  }
  return Arguments(std::move(request));
}

}  // namespace

Result<Arguments> parse_arguments(std::span<const char* const> arguments) {
  TAPIR_TRY_ASSIGN(const Words words, read_words(arguments));
  // Whatever else there is, so that a command that ends in the helper can be asked by one more word at its
  // end.
  if (words.help) {
    return Arguments(HelpRequest{});
  }
  if (words.version) {
    return Arguments(VersionRequest{});
  }
  if (!words.check) {
    return grant_request(words);
  }
  if (words.bridge || words.fd || words.queues || words.mac || words.use_vnet) {
    return fail("--check goes with --user=NAME only");
  }
  return Arguments(CheckRequest{std::optional<std::string>(words.user)});
}

std::string help_text() {
  return std::string("Usage: ") + std::string(kUsage) +
         "\n"
         "       tapir-bridge-helper --check [--user=NAME]\n"
         "Make a tap, put it on a bridge of this host, and pass it to the caller over a unix socket.\n"
         "\n"
         "  --br=BRIDGE     the bridge; the rules say who may use it\n"
         "  --fd=FD         the descriptor of the unix socket\n"
         "  --use-vnet      frames carry a vnet header\n"
         "  --queues=N      queues of the tap, 1 to " +
         std::to_string(kMaxQueues) +
         ", each with a descriptor; 1 if not given\n"
         "  --mac=MAC       the guest's address, which a locked bridge then holds it to\n"
         "  --check         for root: check the rules, and print who gets what\n"
         "  --user=NAME     with --check: only what this user gets\n"
         "  --help          print this\n"
         "  --version       print the version, and where the rules are\n"
         "\n"
         "The rules are in " TAPIR_BRIDGE_CONF "; see tapir-bridge-helper(8) and tapir-bridge.conf(5).\n";
}

std::string version_text() {
  return "tapir-bridge-helper " + std::string(kVersion) + "\nrules: " TAPIR_BRIDGE_CONF "\n";
}

}  // namespace tapir::helper
