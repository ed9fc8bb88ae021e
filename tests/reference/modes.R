# Conditional modes with their standard deviations: as.data.frame(ranef(, condVar = TRUE)) of lme4.
# Run in this folder: Rscript modes.R > modes.json
suppressMessages({library(lme4); library(jsonlite)})

cases <- list(
  slope = list("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
  uncorrelated = list("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
  nested = list("Pastes", "strength ~ 1 + (1 | batch/cask)"),
  crossed = list("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
  category = list("Machines", "score ~ Machine + (0 + Machine | Worker)"),
  weighted = list("cbpp", "incidence / size ~ period + (1 | herd)")
)
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
out <- lapply(cases, function(case) {
  frame <- read.csv(file.path("..", "data", paste0(case[[1]], ".csv")))
  groups <- c("Subject", "batch", "cask", "plate", "sample", "Worker", "Machine", "herd", "period")
  for (f in intersect(names(frame), groups)) frame[[f]] <- factor(frame[[f]])
  weights <- if (case[[1]] == "cbpp") frame$size else NULL
  fit <- lmer(as.formula(case[[2]]), frame, weights = weights, control = polished)
  modes <- as.data.frame(ranef(fit, condVar = TRUE))
  list(data = case[[1]], formula = case[[2]], group = modes$grpvar, level = as.character(modes$grp),
       effect = as.character(modes$term), estimate = modes$condval, std_error = modes$condsd)
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = FALSE), "\n")
