# Coefficients by level: coef() of lme4.
# Run in this folder: Rscript coef.R > coef.json
suppressMessages({library(lme4); library(jsonlite)})

cases <- list(
  slope = list("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
  uncorrelated = list("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
  nested = list("Pastes", "strength ~ 1 + (1 | batch/cask)"),
  no_fixed_slope = list("sleepstudy", "Reaction ~ 1 + (Days | Subject)")
)
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
out <- lapply(cases, function(case) {
  frame <- read.csv(file.path("..", "data", paste0(case[[1]], ".csv")))
  for (f in intersect(names(frame), c("Subject", "batch", "cask"))) frame[[f]] <- factor(frame[[f]])
  fit <- lmer(as.formula(case[[2]]), frame, control = polished)
  groups <- lapply(coef(fit), function(group) {
    list(levels = I(rownames(group)), names = I(names(group)), values = unname(as.matrix(group)))
  })
  list(data = case[[1]], formula = case[[2]], groups = groups)
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = FALSE), "\n")
