// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string_view>

#include "net/base/parse.h"
#include "tools/bench/engine.h"

namespace tapir::bench {
namespace {

using Mode = Options::Mode;
using Direction = Subject::Direction;

constexpr unsigned kMaxSeconds = 3600;

/// One option and how its value is taken. The error does not name the option: the caller does.
struct OptionSpec {
  std::string_view name;
  std::string_view value;  ///< as the help shows it; empty: the option takes none
  std::string_view help;
  Status (*apply)(Options& options, const std::string& value);
};

Result<std::uint64_t> number(const std::string& text, std::uint64_t least, std::uint64_t most) {
  const auto value = parse_unsigned(text, most);
  if (!value || *value < least) {
    return fail(fmt::format("'{}' is not a number from {} to {}", text, least, most));
  }
  return *value;
}

Status set_flag(bool& flag, const std::string& text) {
  const auto value = parse_bool(text);
  if (!value) {
    return fail(fmt::format("'{}' is neither on nor off", text));
  }
  flag = *value;
  return {};
}

Status set_direction(Options& options, const std::string& text) {
  constexpr std::array<std::string_view, 4> kNames{"tx", "rx", "both", "rr"};
  const auto found = std::find(kNames.begin(), kNames.end(), text);
  if (found == kNames.end()) {
    return fail(fmt::format("'{}' is none of tx, rx, both, rr", text));
  }
  options.subject.direction = static_cast<Direction>(found - kNames.begin());
  return {};
}

Status set_engines(Options& options, const std::string& text) {
  const auto all = engine_names();
  if (text == "all") {
    options.subject.engines = all;
    return {};
  }
  if (std::find(all.begin(), all.end(), text) == all.end()) {
    return fail(fmt::format("there is no engine '{}'; there are {} and all", text, fmt::join(all, ", ")));
  }
  options.subject.engines = {text};
  return {};
}

Status set_queues(Options& /*options*/, const std::string& text) {
  TAPIR_TRY_ASSIGN(const auto queues, number(text, 1, 16));
  return queues == 1 ? Status{}
                     : fail(fmt::format("{} queues cannot be measured: the device has one pair", queues));
}

Status set_seconds(Options& options, const std::string& text) {
  // Tenths: "0.2".
  const std::size_t point = text.find('.');
  TAPIR_TRY_ASSIGN(const auto whole, number(text.substr(0, point), 0, kMaxSeconds));
  std::uint64_t tenths = 0;
  if (point != std::string::npos) {
    TAPIR_TRY_ASSIGN(tenths, number(text.substr(point + 1), 0, 9));
  }
  options.run.time = std::chrono::milliseconds(whole * 1000 + tenths * 100);
  return whole + tenths == 0 ? fail("0 seconds measure nothing") : Status{};
}

constexpr std::array kOptions{
    OptionSpec{"--direction", "tx|rx|both|rr",
               "guest to host (the default), host to guest, both at once, or\nround trips, for their latency",
               set_direction},
    OptionSpec{
        "--frame", "SIZE",
        "82 to 1526 bytes with the 12-byte vnet header (118), or tso:\n64 KiB left to be cut, or mixed: "
        "118 and tso in turn, or a\nlist such as 118,1514,tso,118",
        [](Options& options, const std::string& text) -> Status {
          TAPIR_TRY_ASSIGN(options.subject.mix, parse_frame_mix(text));
          const auto sizes = options.subject.mix.sizes.size();
          return FrameSlots::kSlots % sizes == 0
                     ? Status{}
                     : fail(fmt::format("{} sizes: their number must divide {}", sizes, FrameSlots::kSlots));
        }},
    OptionSpec{"--backlog", "N", "frames that wait when the path begins to work: 1 to 256 (256)",
               [](Options& options, const std::string& text) -> Status {
                 TAPIR_TRY_ASSIGN(const auto backlog, number(text, 1, FrameSlots::kSlots));
                 options.subject.backlog = static_cast<unsigned>(backlog);
                 return {};
               }},
    OptionSpec{"--buffer", "BYTES", "size of the guest's receive buffers: 128 to 65568 (1536)",
               [](Options& options, const std::string& text) -> Status {
                 TAPIR_TRY_ASSIGN(options.subject.device.shape.receive_buffer_bytes,
                                  number(text, 128, 65568));
                 return {};
               }},
    OptionSpec{"--engine", "NAME|all", "engine of the device (all)", set_engines},
    OptionSpec{"--poll-us", "N", "the engine polls so long before it sleeps (0)",
               [](Options& options, const std::string& text) -> Status {
                 TAPIR_TRY_ASSIGN(const auto poll, number(text, 0, 1'000'000));
                 options.subject.device.engine.poll_us = static_cast<unsigned>(poll);
                 return {};
               }},
    OptionSpec{"--offloads", "on|off", "checksums and segmentation left to the other side (on)",
               [](Options& options, const std::string& text) {
                 return set_flag(options.subject.device.offloads, text);
               }},
    OptionSpec{"--mergeable", "on|off", "a frame may lie in several receive buffers (on)",
               [](Options& options, const std::string& text) {
                 return set_flag(options.subject.device.mergeable, text);
               }},
    OptionSpec{"--event-idx", "on|off", "suppression of kicks and interrupts by index (on)",
               [](Options& options, const std::string& text) {
                 return set_flag(options.subject.device.event_index, text);
               }},
    OptionSpec{"--queues", "N", "queue pairs: 1, until the device has more", set_queues},
    OptionSpec{"--frames", "N", "frames each way that stream and goals look at for their\norder (100000)",
               [](Options& options, const std::string& text) -> Status {
                 TAPIR_TRY_ASSIGN(options.frames, number(text, 1000, 1'000'000'000));
                 return {};
               }},
    OptionSpec{"--seconds", "N[.N]", "of each case in each repetition (1)", set_seconds},
    OptionSpec{"--repetitions", "N", "of the whole, 1 to 100; the table has medians (5)",
               [](Options& options, const std::string& text) -> Status {
                 TAPIR_TRY_ASSIGN(const auto repetitions, number(text, 1, 100));
                 options.run.repetitions = static_cast<unsigned>(repetitions);
                 return {};
               }},
    OptionSpec{"--json", "FILE", "also write everything measured there",
               [](Options& options, const std::string& text) -> Status {
                 options.json_file = text;
                 return {};
               }},
    OptionSpec{"--plot", "FILE.svg", "also draw it there, with gnuplot",
               [](Options& options, const std::string& text) -> Status {
                 options.plot_file = text;
                 return {};
               }},
};

struct ModeSpec {
  std::string_view word;
  Mode mode;
};
constexpr std::array<ModeSpec, 10> kModes{{{"raw", Mode::kRaw},
                                           {"device", Mode::kDevice},
                                           {"guest", Mode::kGuest},
                                           {"stream", Mode::kStream},
                                           {"goals", Mode::kGoals},
                                           {"report", Mode::kReport},
                                           {"--compare", Mode::kCompare},
                                           {"--help", Mode::kHelp},
                                           {"-h", Mode::kHelp},
                                           {"--version", Mode::kVersion}}};

Status apply(Options& options, std::span<const std::string> words, std::size_t& at) {
  // --name=value and --name value are the same.
  const std::string& word = words[at];
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const auto* const found = std::find_if(kOptions.begin(), kOptions.end(),
                                         [&](const OptionSpec& each) { return each.name == name; });
  if (found == kOptions.end()) {
    std::vector<std::string_view> names;
    names.reserve(kOptions.size());
    for (const OptionSpec& each : kOptions) {
      names.push_back(each.name);
    }
    const auto near = nearest(name, names);
    return fail(fmt::format("there is no option '{}'{}", name,
                            near ? fmt::format("; did you mean {}?", *near) : "; see tapir-bench --help"));
  }
  if (equals == std::string::npos && at + 1 == words.size()) {
    return fail(fmt::format("{} takes a value: {}", name, found->value));
  }
  const std::string value = equals == std::string::npos ? words[++at] : word.substr(equals + 1);
  if (auto applied = found->apply(options, value); !applied) {
    return tl::unexpected<Error>(std::move(applied).error().with_context(name));
  }
  return {};
}

Status check_together(const Options& options) {
  const Subject& subject = options.subject;
  const bool large = subject.mix.largest() > 1526;
  if (large && subject.direction == Direction::kRoundTrip) {
    return fail("round trips are of small frames; --frame tso and mixed are not for --direction rr");
  }
  if (large && !subject.device.offloads) {
    return fail("frames of 64 KiB need segmentation: --frame tso and mixed need --offloads on");
  }
  if (!subject.device.mergeable && large && subject.device.shape.receive_buffer_bytes < kLargeFrameBytes) {
    return fail(fmt::format("without --mergeable a frame has one buffer: --buffer must be {} at least",
                            kLargeFrameBytes));
  }
  if (subject.direction == Direction::kRoundTrip && options.mode != Mode::kDevice &&
      options.mode != Mode::kGuest) {
    return fail("--direction rr is for tapir-bench device and guest");
  }
  return {};
}

/// The guest's driver has less to choose from than the one here.
Status fit_guest(Options& options) {
  Subject& subject = options.subject;
  const DeviceSetup usual;
  if (subject.mix.sizes.size() != 1) {
    return fail("a guest sends frames of one size: --frame takes one with tapir-bench guest");
  }
  if (subject.device.shape.receive_buffer_bytes != usual.shape.receive_buffer_bytes ||
      !subject.device.mergeable || !subject.device.offloads) {
    return fail(
        "--buffer, --mergeable and --offloads are not for tapir-bench guest, whose driver has buffers "
        "for any frame");
  }
  if (subject.mix.largest() > usual.shape.receive_buffer_bytes) {
    subject.device.shape.receive_buffer_bytes = 65568;
  }
  return {};
}

}  // namespace

Result<Options> parse_options(const std::vector<std::string>& words) {
  Options options;
  options.subject.mix = FrameMix{{118}};
  options.subject.engines = engine_names();
  if (words.empty()) {
    return options;
  }
  const auto* const mode = std::find_if(kModes.begin(), kModes.end(),
                                        [&](const ModeSpec& each) { return each.word == words.front(); });
  if (mode == kModes.end()) {
    return fail(
        fmt::format("'{}' is none of raw, device, guest, stream, goals, report, --compare, --help, --version",
                    words.front()));
  }
  options.mode = mode->mode;
  const std::size_t inputs = options.mode == Mode::kCompare ? 2 : options.mode == Mode::kReport ? 1 : 0;
  if (words.size() < 1 + inputs || (options.mode == Mode::kCompare && words.size() > 1 + inputs)) {
    return fail(
        inputs == 2
            ? "--compare takes two files that --json wrote: tapir-bench --compare before.json after.json"
            : "report takes a file that --json wrote: tapir-bench report today.json --plot today.svg");
  }
  options.inputs.assign(words.begin() + 1, words.begin() + 1 + static_cast<std::ptrdiff_t>(inputs));
  for (std::size_t at = 1 + inputs; at < words.size(); ++at) {
    TAPIR_TRY(apply(options, words, at));
  }
  TAPIR_TRY(check_together(options));
  if (options.mode == Mode::kGuest) {
    TAPIR_TRY(fit_guest(options));
  }
  options.subject.verified_frames = options.frames;
  return options;
}

std::string help_text() {
  std::string text =
      "tapir-bench measures how fast frames move between memory and a tap on this machine, and how near\n"
      "tapir's virtio network device comes to that. It changes nothing of the host's network: everything\n"
      "happens in a network namespace of its own, which takes root, or user namespaces.\n\n"
      "  tapir-bench raw     read, write and io_uring on a bare tap: the ceiling\n"
      "  tapir-bench device  the device on each engine, beside the raw call of the same shape\n"
      "  tapir-bench guest   a guest in tapir that sends and receives, with real kicks and interrupts\n"
      "  tapir-bench stream  the device with its own thread under bursts: order, loss, interrupts\n"
      "  tapir-bench goals   everything that tapir promises, with a verdict for each line\n"
      "  tapir-bench report FILE.json   what --json wrote, as a table and a plot again\n"
      "  tapir-bench --compare BEFORE.json AFTER.json\n\n"
      "Try:  tapir-bench device --direction rx --frame tso --buffer 4096\n"
      "      tapir-bench goals --json today.json --plot today.svg\n\n";
  for (const OptionSpec& option : kOptions) {
    const std::string left = fmt::format("  {} {}", option.name, option.value);
    std::string_view help = option.help;
    std::string indent = fmt::format("{:<28}", left);
    while (!help.empty()) {
      const std::size_t end = std::min(help.find('\n'), help.size());
      text += indent + std::string(help.substr(0, end)) + "\n";
      help.remove_prefix(std::min(end + 1, help.size()));
      indent = std::string(28, ' ');
    }
  }
  return text +
         "\nTimes of raw and device are CPU time of the measured thread, so that other programs disturb "
         "little;\n"
         "ratios compare cases that ran in turns. Every frame is numbered: one that is lost, doubled, "
         "damaged\n"
         "or out of order ends the run with status 1. tapir-bench(1) has more.\n";
}

}  // namespace tapir::bench
