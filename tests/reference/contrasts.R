# Contrasts of lmerTest and pbkrtest, row by row and joint, with right-hand sides that are not zero.
# Run in this folder: Rscript contrasts.R > contrasts.json
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))

cases <- list(
  sleepstudy = list("sleepstudy", "thinned", "Reaction ~ Days + (Days | Subject)", thinned(read("sleepstudy", "Subject")),
                    rbind(c(1, 0), c(1, 9)), c(240, 350)),
  machines = list("Machines", "thinned", "score ~ Machine + (0 + Machine | Worker)",
                  thinned(read("Machines", c("Machine", "Worker"))), rbind(c(0, 1, -1), c(0, .5, .5)), c(0, 8)),
  dietox = list("dietox", "thinned", "Weight ~ Time * Cu + (Time | Pig)", thinned(read("dietox", c("Pig", "Cu"))),
                rbind(c(0, 0, 1, 0, 0, 0), c(0, 0, 1, 0, 10, 0), c(0, 1, 0, 0, .5, .5)), c(0, -2, 7))
)
out <- lapply(cases, function(case) {
  fit <- lmer(as.formula(case[[3]]), case[[4]], control = polished)
  L <- case[[5]]
  rhs <- case[[6]]
  table_of <- function(ddf) {
    each <- lapply(seq_along(rhs), function(i) contest1D(fit, L[i, ], rhs = rhs[i], ddf = ddf, confint = TRUE))
    rows <- do.call(rbind, each)
    joint <- contest(fit, L, rhs = rhs, joint = TRUE, ddf = ddf)
    list(estimate = rows[["Estimate"]], se = rows[["Std. Error"]], df = rows[["df"]], t = rows[["t value"]],
         lower = rows[["lower"]], upper = rows[["upper"]], p = rows[["Pr(>|t|)"]], num_df = joint[["NumDF"]],
         den_df = joint[["DenDF"]], F = joint[["F value"]], joint_p = joint[["Pr(>F)"]])
  }
  list(data = case[[1]], change = case[[2]], formula = case[[3]], names = names(fixef(fit)), L = L, rhs = rhs,
       satterthwaite = table_of("Satterthwaite"), `kenward-roger` = table_of("Kenward-Roger"))
})
cat(toJSON(out, digits = NA, auto_unbox = FALSE, pretty = TRUE, na = "null"), "\n")
