// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/plot.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "net/base/unique_fd.h"
#include "net/command_runner.h"

namespace tapir::bench {
namespace {

constexpr std::chrono::seconds kLimit{30};
constexpr double kGap = 1.0;       // between two groups, in bars
constexpr double kLeastBars = 12;  // as wide as so many, so that a single group is not blown up
constexpr double kHeadroom = 1.6;  // for the texts above the bars

/// Of a bare tap, not of tapir's device, alone or in a guest.
bool is_raw(const std::string& name) {
  return !name.starts_with("device") && !name.starts_with("guest");
}

/// Raw methods are grey, each engine has a colour of its own in every group and in the curve.
class Palette {
 public:
  std::string of(const std::string& name) {
    if (is_raw(name)) {
      const bool second = name.find("256") != std::string::npos || name.starts_with("spinning");
      return second ? "#c3c7cd" : "#8a8f98";
    }
    static const std::vector<std::string> colours{"#e08214", "#1f78b4", "#33a02c", "#6a3d9a"};
    const auto [found, added] = colours_.try_emplace(name, colours[colours_.size() % colours.size()]);
    return found->second;
  }

 private:
  std::map<std::string, std::string> colours_;
};

std::string throughput(const CaseResult& each) {
  const double time = each.median(&Repetition::ns_per_frame);
  const double gigabits = each.median(&Repetition::bytes_per_frame) * 8 / time;
  return each.median(&Repetition::bytes_per_frame) > 4096 ? fmt::format("{:.0f} Gbit/s", gigabits)
                                                          : fmt::format("{:.2f} M/s", 1000 / time);
}

/// Whether there is a raw call to compare with.
bool has_ceiling(const GroupResult& group) {
  return !group.round_trips && !group.cases.empty() && group.cases.front().measured() &&
         is_raw(group.cases.front().name);
}

/// Breaks what is too long to stand beside its neighbours.
std::string in_two_lines(std::string title) {
  const std::size_t at = title.find(" into ");
  return at == std::string::npos ? title : title.replace(at, 1, "\\n");
}

/// One bar for each case that was measured, as rectangles: position, height, spread and text.
std::string bars(const RunResult& run, Palette& palette) {
  std::string objects;
  std::string tics;
  double x = 0;
  double top = 1;
  int object = 0;
  for (const GroupResult& group : run.groups) {
    if (!has_ceiling(group)) {
      continue;
    }
    const double start = x;
    for (const CaseResult& each : group.cases) {
      if (!each.measured()) {
        continue;
      }
      const Summary speed = summarise(GroupResult::speed_ratios(each, group.cases.front()));
      top = std::max(top, speed.max);
      objects +=
          fmt::format("set object {} rect from {:.2f},0 to {:.2f},{:.4f} fc rgb '{}' fs solid noborder\n",
                      ++object, x + 0.05, x + 0.95, speed.median, palette.of(each.name));
      objects +=
          fmt::format("set arrow from {0:.2f},{1:.4f} to {0:.2f},{2:.4f} heads size 0.08,90 front lw 1\n",
                      x + 0.8, speed.min, speed.max);
      // Above the bar and its spread, where it can be read however low the bar is.
      objects += fmt::format(
          "set label \"{}  {}\" at {:.2f},{:.4f} rotate by 90 left front offset 0,0.5 font ',11'\n",
          each.name, throughput(each), x + 0.5, std::max(speed.median, speed.max));
      x += 1;
    }
    tics +=
        fmt::format("{}\"{}\" {:.2f}", tics.empty() ? "" : ", ", in_two_lines(group.title), (start + x) / 2);
    x += kGap;
  }
  if (tics.empty()) {
    return {};
  }
  return fmt::format(
      "set title \"Speed for each 1 of the raw call (first bar of each group); more is better\"\n"
      "set lmargin 13\nset rmargin 3\nset xrange [{:.2f}:{:.2f}]\nset yrange [0:{:.3f}]\nset ylabel \"speed "
      "/ raw\"\nunset key\n"
      "set xtics ({}) font ',11' nomirror scale 0\nset grid ytics\n{}"
      "plot 1 with lines lc rgb '#444444' dt 2 notitle\nreset\n",
      -kGap / 2, std::max(x, kLeastBars) - kGap / 2, top * kHeadroom, tics, objects);
}

std::string curves(const RunResult& run, Palette& palette) {
  std::string data;
  std::string plots;
  int block = 0;
  for (const GroupResult& group : run.groups) {
    for (const CaseResult& each : group.cases) {
      if (!group.round_trips || !each.measured()) {
        continue;
      }
      ++block;
      data += fmt::format("$d{} << EOD\n", block);
      for (std::size_t i = 0; i < kPercents.size(); ++i) {
        std::vector<double> values;
        for (const Repetition& repetition : each.repetitions) {
          values.push_back(repetition.percentiles_us[i]);
        }
        data += fmt::format("{} {:.2f}\n", i, summarise(values).median);
      }
      data += "EOD\n";
      const bool raw = is_raw(each.name);
      plots +=
          fmt::format("{}$d{} using 1:2 with linespoints lw 2 pt 7 ps 0.6 dt {} lc rgb '{}' title \"{}\"",
                      plots.empty() ? "plot " : ", ", block, raw ? 2 : 1, palette.of(each.name), each.name);
    }
  }
  if (plots.empty()) {
    return {};
  }
  std::string tics;
  for (std::size_t i = 0; i < kPercents.size(); ++i) {
    tics += fmt::format("{}\"p{}\" {}", i == 0 ? "" : ", ", kPercents[i], i);
  }
  return data + fmt::format(
                    "set title \"Round trip: so many percent of them took at most so long; less is better\"\n"
                    "set lmargin 13\nset rmargin 3\nset ylabel \"microseconds\"\nset "
                    "logscale y\nset xrange [-0.2:{}.2]\n"
                    "set xtics ({})\nset grid\nset key top left\n{}\nreset\n",
                    kPercents.size() - 1, tics, plots);
}

}  // namespace

std::string plot_script(const RunResult& run, const std::string& path) {
  Palette palette;
  const std::string upper = bars(run, palette);
  const std::string lower = curves(run, palette);
  const int panels = (upper.empty() ? 0 : 1) + (lower.empty() ? 0 : 1);
  return fmt::format(
             "set terminal svg size 1400,{} font 'Sans,13' background rgb 'white'\nset output '{}'\n"
             "set multiplot layout {},1 title \"tapir-bench: tapir {}, Linux {}, {}\"\n",
             60 + 560 * std::max(panels, 1), path, std::max(panels, 1), run.version, run.kernel, run.cpu) +
         upper + lower + "unset multiplot\n";
}

Status draw_plot(const RunResult& run, const std::string& path) {
  if (path.find('\'') != std::string::npos) {
    return fail("the name of a plot may have no apostrophe: " + path);
  }
  const std::string script = plot_script(run, path);
  const UniqueFd input(::memfd_create("tapir-bench-plot", MFD_CLOEXEC));
  if (!input || ::write(input.get(), script.data(), script.size()) != static_cast<ssize_t>(script.size()) ||
      ::lseek(input.get(), 0, SEEK_SET) < 0) {
    return fail_errno("memfd_create");
  }
  net::ChildDescriptors descriptors;
  descriptors.input = input.get();
  auto gnuplot = net::ChildProcess::start({"gnuplot"}, descriptors);
  if (!gnuplot) {
    return tl::unexpected<Error>(
        std::move(gnuplot).error().with_context("--plot needs gnuplot (Debian: gnuplot-nox)"));
  }
  const auto status = gnuplot->wait(net::ChildProcess::Clock::now() + kLimit);
  // gnuplot goes on after most errors, and says so.
  if (!status || !status->success() || !gnuplot->errors().empty()) {
    return fail("gnuplot could not draw " + path + ": " +
                (status ? net::one_line(gnuplot->errors()) : std::string("it takes too long")));
  }
  return {};
}

}  // namespace tapir::bench
