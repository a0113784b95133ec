// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/json_report.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace tapir::bench {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "tapir-bench 1";

json to_object(const Repetition& each) {
  return {{"frames", each.frames},
          {"dropped", each.dropped},
          {"ns_per_frame", each.ns_per_frame},
          {"bytes_per_frame", each.bytes_per_frame},
          {"syscalls_per_frame", each.syscalls_per_frame},
          {"interrupts_per_frame", each.interrupts_per_frame},
          {"kicks_per_frame", each.kicks_per_frame},
          {"allocations_per_frame", each.allocations_per_frame},
          {"percentiles_us", each.percentiles_us}};
}

Repetition repetition_from(const json& object) {
  Repetition each;
  object.at("frames").get_to(each.frames);
  object.at("dropped").get_to(each.dropped);
  object.at("ns_per_frame").get_to(each.ns_per_frame);
  object.at("bytes_per_frame").get_to(each.bytes_per_frame);
  object.at("syscalls_per_frame").get_to(each.syscalls_per_frame);
  object.at("interrupts_per_frame").get_to(each.interrupts_per_frame);
  object.at("kicks_per_frame").get_to(each.kicks_per_frame);
  object.at("allocations_per_frame").get_to(each.allocations_per_frame);
  object.at("percentiles_us").get_to(each.percentiles_us);
  return each;
}

json to_object(const CaseResult& each) {
  json repetitions = json::array();
  for (const Repetition& repetition : each.repetitions) {
    repetitions.push_back(to_object(repetition));
  }
  return {{"name", each.name},
          {"skipped", each.skipped},
          {"verified_frames", each.verified_frames},
          {"repetitions", repetitions}};
}

GroupResult group_from(const json& object) {
  GroupResult group;
  object.at("title").get_to(group.title);
  object.at("round_trips").get_to(group.round_trips);
  for (const json& item : object.at("cases")) {
    CaseResult each;
    item.at("name").get_to(each.name);
    item.at("skipped").get_to(each.skipped);
    item.at("verified_frames").get_to(each.verified_frames);
    for (const json& repetition : item.at("repetitions")) {
      each.repetitions.push_back(repetition_from(repetition));
    }
    group.cases.push_back(std::move(each));
  }
  return group;
}

}  // namespace

std::string to_json(const RunResult& run) {
  json groups = json::array();
  for (const GroupResult& group : run.groups) {
    json cases = json::array();
    for (const CaseResult& each : group.cases) {
      cases.push_back(to_object(each));
    }
    groups.push_back({{"title", group.title}, {"round_trips", group.round_trips}, {"cases", cases}});
  }
  const json all{{"format", kFormat},  {"version", run.version}, {"kernel", run.kernel}, {"cpu", run.cpu},
                 {"goals", run.goals}, {"percents", kPercents},  {"groups", groups}};
  return all.dump(1) + "\n";
}

Result<RunResult> from_json(std::string_view text) {
  // The library throws; here that ends.
  try {
    const json all = json::parse(text);
    if (all.at("format") != kFormat) {
      return fail(std::string("is not of the format ") + kFormat);
    }
    RunResult run;
    all.at("version").get_to(run.version);
    all.at("kernel").get_to(run.kernel);
    all.at("cpu").get_to(run.cpu);
    all.at("goals").get_to(run.goals);
    for (const json& group : all.at("groups")) {
      run.groups.push_back(group_from(group));
    }
    return run;
  } catch (const json::exception& problem) {
    return fail(std::string("was not written by tapir-bench --json: ") + problem.what());
  }
}

Status write_json(const std::string& path, const RunResult& run) {
  std::ofstream file(path);
  file << to_json(run) << std::flush;
  return file ? Status{} : fail_errno("cannot write " + path);
}

Result<RunResult> read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return fail_errno("cannot read " + path);
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto run = from_json(text);
  if (!run) {
    return tl::unexpected<Error>(std::move(run).error().with_context(path));
  }
  return run;
}

}  // namespace tapir::bench
